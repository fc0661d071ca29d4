import type { Config, OptionKey } from '../config/options.ts';
import { optionName, options, variableName } from '../config/options.ts';
import type { Address } from '../config/types.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { lockDirectory } from '../process/data-lock.ts';
import { stopGracefully } from '../process/lifecycle.ts';
import { portInUse, probePort } from '../process/probe-port.ts';
import { forkProgram, type ProcessOptions, type Supervised, supervise } from '../process/supervisor.ts';
import { loadSchema } from '../schema/schema.ts';
import { type PreparedEngine, prepareEngine } from './clickhouse.ts';
import type { Command, CommandContext } from './command.ts';
import { checkOutage } from './from-config.ts';
import {
  bufferOptions,
  clickhouseOptions,
  collectorOptions,
  engineOptions,
  readerOptions,
  reportingOptions,
  streamerOptions,
} from './shared-options.ts';
import { formatBanner } from './start-banner.ts';

/** `millrace start`. */
export const start: Command = {
  arguments: [],
  options: [
    ...collectorOptions,
    ...new Set<OptionKey>([...bufferOptions, ...readerOptions]),
    ...streamerOptions,
    ...clickhouseOptions,
    ...reportingOptions,
    ...engineOptions.filter((key) => !(clickhouseOptions as readonly OptionKey[]).includes(key)),
    'embeddedClickhouse',
    'stopTimeout',
    'logLevel',
    'config',
  ],
  examples: [
    'millrace start',
    'millrace start --data-dir /var/lib/millrace --workers 2',
    'millrace start --buffer kafka --kafka-brokers 127.0.0.1:9092',
    'millrace start --no-embedded-clickhouse --clickhouse-url http://10.0.0.2:8123',
  ],
  async run(context) {
    const { config, log } = context;
    const startedAt = performance.now();
    checkOutage(config);
    const schema = loadSchema(config.schema);
    const unlock = await lockDirectory(config.dataDir, { log });
    const running: Supervised[] = [];
    let engine: PreparedEngine | undefined;
    // Data order: events stop coming in, then they stop being delivered, then ClickHouse closes.
    const stopping = new AbortController();
    const stop = async (hurry?: AbortSignal): Promise<void> => {
      stopping.abort();
      // A signal may have reached the children, too: none of them is missed now.
      for (const child of running) child.expectEnd();
      if (running.length > 0)
        process.stdout.write('Stopping: requests in flight are finished, inserts committed.\n');
      for (const child of [...running].reverse()) await child.stop(hurry);
      unlock();
    };
    if (config.logLevel === 'info') log.level = 'warn';
    stopGracefully(stop, {
      log,
      timeoutMs: config.drainDelay + 4 * config.stopTimeout,
      isBelowNpm: process.env.npm_lifecycle_event === 'start',
    });
    try {
      await probePorts(config);
      engine = config.embeddedClickhouse ? await prepareEngine(config, log) : undefined;
      await launchAll(context, engine, { running, stopping: stopping.signal });
    } catch (error) {
      // Stopped in the middle of the start: whoever stops it ends the process.
      if (stopping.signal.aborted) return undefined;
      await stop();
      throw error;
    }
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    process.stdout.write(formatBanner(config, { seconds, engine, schema }));
    return undefined;
  },
};

async function launchAll(
  { config, flags, log }: CommandContext,
  engine: PreparedEngine | undefined,
  { running, stopping }: { readonly running: Supervised[]; readonly stopping: AbortSignal },
): Promise<void> {
  const env = childEnvironment(config, flags);
  const launch = async (
    command: string,
    start: ProcessOptions['start'] = () => forkProgram([command], env),
  ) => {
    stopping.throwIfAborted();
    const stopTimeoutMs = config.stopTimeout + (command === 'collect' ? config.drainDelay : 0) + 2_000;
    const child = supervise({ command, start, log, stopTimeoutMs });
    running.push(child);
    await child.ready;
  };
  if (engine !== undefined) await launch('clickhouse', engine.start);
  await launch('stream');
  await launch('collect');
}

/** All ports are looked at before anything starts, and all that are taken are named. */
async function probePorts(config: Config): Promise<void> {
  const { hostname, port } = config.clickhouseUrl;
  const clickhouse: Address = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 8123) };
  const wanted: [Address, string][] = [
    [config.listen, 'listen'],
    [config.streamListen, 'stream-listen'],
    ...(config.embeddedClickhouse ? [[clickhouse, 'clickhouse-url'] as [Address, string]] : []),
  ];
  const faults: string[] = [];
  for (const [address, option] of wanted) {
    await probePort(address, option).catch(() => faults.push(portInUse(address, option).message));
  }
  if (faults.length > 0) throw new OperatorError(faults.join('\n'), exitCodes.unavailable);
}

/** Children read what this process read: its environment and file; its flags become variables. */
function childEnvironment(config: Config, flags: CommandContext['flags']): NodeJS.ProcessEnv {
  const given = Object.entries(flags).map(([flag, value]) => {
    const key = (Object.keys(options) as OptionKey[]).find((candidate) => optionName(candidate) === flag);
    return key === undefined ? [variableName(flag.slice(3)), 'false'] : [variableName(key), String(value)];
  });
  // The console belongs to the person who typed `start`; children speak up when something is wrong.
  const quiet = config.logLevel === 'info' ? { MILLRACE_LOG_LEVEL: 'warn' } : {};
  return { ...process.env, ...Object.fromEntries(given), ...quiet };
}
