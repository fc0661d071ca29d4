import { BufferUnavailableError } from '../buffer/buffer.ts';
import { createClickHouse } from '../clickhouse/client.ts';
import {
  ClickHouseError,
  ClickHouseUnavailableError,
  describeRefusal,
  isMissingTable,
} from '../clickhouse/errors.ts';
import { findTables } from '../clickhouse/tables.ts';
import type { Config } from '../config/options.ts';
import { type ExitCode, exitCodes, OperatorError } from '../errors.ts';
import { openSource } from '../replay/source.ts';
import { printable, printableJson, printableLines } from '../text.ts';
import { formatReport } from '../verify/format-report.ts';
import { type Receipts, readReceipts } from '../verify/receipts.ts';
import type { Verdict } from '../verify/report.ts';
import { verify as compare } from '../verify/verify.ts';
import { type Command, type CommandContext, clickhouseOptions } from './command.ts';
import { clickhouseClientOptions, openInspector } from './open-buffer.ts';

const codes: Readonly<Record<Verdict, ExitCode>> = {
  ok: exitCodes.ok,
  loss: exitCodes.lossFound,
  not_delivered: exitCodes.thresholdMissed,
};

/** Before this, a person does not wonder what takes so long. */
const quietMs = 1_000;

/** `millrace verify`. */
export const verify: Command = {
  arguments: [],
  options: [
    'receipts',
    'content',
    'wait',
    'since',
    'until',
    'all',
    'json',
    'buffer',
    'dataDir',
    'logMaxBytes',
    'kafkaBrokers',
    'kafkaTopic',
    'kafkaGroup',
    ...clickhouseOptions,
    'logLevel',
    'config',
  ],
  exitCodes: {
    98: 'loss, duplicates, rows without a record, or bytes that differ from those posted',
    99: 'some records are not delivered yet, or were not delivered within --wait',
  },
  examples: [
    'millrace verify',
    'millrace verify --wait 1m --json',
    'millrace verify --since 2h',
    'millrace verify --content',
    'millrace verify --receipts receipts.ndjson --wait 30s',
    'millrace verify --buffer kafka --kafka-brokers 10.0.0.1:9092 --clickhouse-url http://10.0.0.2:8123',
  ],
  run,
};

async function run({ config, log }: CommandContext): Promise<ExitCode> {
  // Before the buffer is looked at: what was acknowledged by then must be in it.
  const receipts = await loadReceipts(config.receipts);
  const inspector = await openInspector(config, log);
  const clickhouse = createClickHouse(clickhouseClientOptions(config, ''));
  const progress = createProgress();
  try {
    const { clickhouseDatabase: database, clickhouseCluster: cluster } = config;
    const report = await compare({
      inspector,
      clickhouse,
      receipts,
      tables: await findTables(clickhouse, { database, cluster }),
      since: config.since,
      until: config.until,
      all: config.all,
      content: config.content,
      waitMs: config.wait,
      onStep: progress.show,
    });
    progress.clear();
    process.stdout.write(
      config.json ? printableJson(`${JSON.stringify(report)}\n`) : printableLines(formatReport(report)),
    );
    return codes[report.verdict];
  } catch (error) {
    progress.clear();
    throw explain(error, config);
  } finally {
    await clickhouse.close();
    await inspector.close();
  }
}

async function loadReceipts(file: string | undefined): Promise<Receipts | undefined> {
  if (file === undefined) return undefined;
  const source = await openSource(file);
  try {
    return await readReceipts(source.chunks, source.name);
  } finally {
    source.close();
  }
}

/** One line on a terminal, once it takes long. */
function createProgress() {
  const startedAt = performance.now();
  const { stderr } = process;
  let isShown = false;
  return {
    show(step: string): void {
      if (!stderr.isTTY || performance.now() - startedAt < quietMs) return;
      isShown = true;
      stderr.write(`\r\u001b[K${printable(step)} ...`);
    },
    clear(): void {
      if (isShown) stderr.write('\r\u001b[K');
    },
  };
}

/** ClickHouse's UNKNOWN_IDENTIFIER: tables of another release lack a column. */
const unknownIdentifier = 47;

function explain(error: unknown, config: Config): unknown {
  const { clickhouseUrl, clickhouseDatabase, buffer } = config;
  const { unavailable } = exitCodes;
  if (error instanceof BufferUnavailableError) {
    const option = buffer === 'kafka' ? '--kafka-brokers' : '--data-dir';
    const advice = error.message.includes('--') ? '' : `; check ${option}`;
    return new OperatorError(`the buffer cannot be read: ${error.message}${advice}`, unavailable, {
      cause: error,
    });
  }
  if (error instanceof ClickHouseUnavailableError)
    return new OperatorError(`${error.message}; check --clickhouse-url`, unavailable, { cause: error });
  if (!(error instanceof ClickHouseError)) return error;
  const message =
    error.code === unknownIdentifier || isMissingTable(error)
      ? `database ${clickhouseDatabase} at ${clickhouseUrl.origin} does not have the tables of this release: check --clickhouse-database, and that the streamer has run (${error.message})`
      : `ClickHouse at ${clickhouseUrl.origin} refuses the query: ${describeRefusal(error)}; check --clickhouse-url and --clickhouse-user`;
  return new OperatorError(message, unavailable, { cause: error });
}
