import { join } from 'node:path';
import type { Logger } from 'pino';
import { type BufferWriter, isResumable } from '../buffer/buffer.ts';
import { createClickHouse } from '../clickhouse/client.ts';
import { nameTables } from '../clickhouse/tables.ts';
import { type Collector, startCollector } from '../collector/collector.ts';
import { connectToParent, startWorkers } from '../collector/workers.ts';
import type { Config } from '../config/options.ts';
import { formatAddress } from '../config/types.ts';
import { messageOf } from '../errors.ts';
import { prepareDataDirectory } from '../process/data-directory.ts';
import { probePort } from '../process/hosts.ts';
import { announceReady, stopGracefully } from '../process/lifecycle.ts';
import { createReceiptLookup, type ReceiptLookup } from '../receipts/receipt-lookup.ts';
import { type EventSchema, loadSchema } from '../schema/schema.ts';
import { type DurableSpool, existsSpool, openSpool } from '../spool/spool.ts';
import { openTracer } from '../tracing/open-tracer.ts';
import {
  bufferOptions,
  type Command,
  type CommandContext,
  clickhouseOptions,
  collectorOptions,
  reportingOptions,
} from './command.ts';
import { checkOutage, clickhouseClientOptions, openInspector, openWriter } from './open-buffer.ts';

/** `millrace collect`. */
export const collect: Command = {
  arguments: [],
  options: [
    ...collectorOptions,
    ...bufferOptions,
    // To say what became of a receipt.
    'kafkaGroup',
    ...clickhouseOptions,
    ...reportingOptions,
    'stopTimeout',
    'logLevel',
    'config',
  ],
  examples: [
    'millrace collect',
    'millrace collect --buffer kafka --kafka-brokers 10.0.0.1:9092,10.0.0.2:9092 --workers 4',
    'millrace collect --buffer kafka --on-outage spool --data-dir /var/lib/millrace',
  ],
  async run(context) {
    const isWorker = process.env.MILLRACE_WORKER !== undefined;
    if (isWorker) await runWorker(context);
    else await runParent(context);
    return undefined;
  },
};

async function runParent(context: CommandContext): Promise<void> {
  const { config, log } = context;
  checkOutage(config);
  loadSchema(config.schema);
  const port = await probePort(config.listen, 'listen');
  if (config.workers === 1) {
    const collector = await start(context);
    stopGracefully(collector.stop, { log, timeoutMs: stopTimeoutMs(config) });
    announce(context, collector.port);
    return;
  }
  const address = { host: config.listen.host, port };
  const workers = await startWorkers(config.workers, formatAddress(address), log);
  stopGracefully(workers.stop, { log, timeoutMs: stopTimeoutMs(config) + 1_000 });
  announce(context, workers.port);
}

async function runWorker(context: CommandContext): Promise<void> {
  const { config, log } = context;
  let collector: Collector | undefined;
  const { gatherMetrics } = connectToParent(async () => (await collector?.metricsAsJson()) ?? [], log);
  collector = await start(context, gatherMetrics);
  const { stop, port } = collector;
  stopGracefully(stop, { log, timeoutMs: stopTimeoutMs(config) });
  announceReady({ port });
}

function stopTimeoutMs({ drainDelay, stopTimeout }: Config): number {
  return drainDelay + stopTimeout;
}

async function start(
  { config, log }: CommandContext,
  gatherMetrics?: () => Promise<string>,
): Promise<Collector> {
  const schema = loadSchema(config.schema);
  const writer = await openWriter(config, log);
  let spool: DurableSpool | undefined;
  try {
    spool = await openSpoolFor(writer, config, log);
    return await startCollector({
      ...config,
      schema,
      writer,
      spool,
      receipts: createReceipts(schema, config, log),
      tracer: await openTracer('collect', config, log),
      log,
      ...(gatherMetrics === undefined ? {} : { gatherMetrics }),
    });
  } catch (error) {
    await spool?.close();
    await writer.close();
    throw error;
  }
}

/** The spool, when events may go there, or when an earlier run may have left some. */
async function openSpoolFor(
  writer: BufferWriter,
  config: Config,
  log: Logger,
): Promise<DurableSpool | undefined> {
  if (!isResumable(writer)) return undefined;
  const takesEvents = config.onOutage === 'spool';
  const dir = join(config.dataDir, 'spool');
  if (!takesEvents && !existsSpool(dir, writer.topic)) return undefined;
  prepareDataDirectory(config.dataDir, log);
  return await openSpool({ dir, maxBytes: config.spoolMaxBytes, writer, takesEvents, log });
}

/** Few connections and short waits: looking receipts up comes after everything else. */
function createReceipts({ columns }: EventSchema, config: Config, log: Logger): ReceiptLookup {
  let isExplained = false;
  const connect = () => {
    try {
      const client = clickhouseClientOptions(config, '', 'reader');
      return createClickHouse({ ...client, timeoutMs: 15_000, connections: 4 });
    } catch (error) {
      if (!isExplained) log.warn(`receipts cannot be looked up: ${messageOf(error)}`);
      isExplained = true;
      // Clients get this message, and need not know the files of this machine.
      throw new Error('the password of ClickHouse cannot be read; the log of the collector says why');
    }
  };
  return createReceiptLookup({
    openInspector: () => openInspector(config, log),
    createClickHouse: connect,
    tables: nameTables({ database: config.clickhouseDatabase, cluster: config.clickhouseCluster }),
    columns: new Set(columns.map(({ name }) => name)),
  });
}

function announce({ config, log }: CommandContext, port: number): void {
  const url = `http://${formatAddress({ host: config.listen.host, port })}`;
  log.info({ url, workers: config.workers, buffer: config.buffer }, `collecting at ${url}`);
  announceReady({ port });
}
