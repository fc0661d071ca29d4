import { resolve } from 'node:path';
import type { Config, OptionKey } from '../config/options.ts';
import { optionName, options, variableName } from '../config/options.ts';
import { type Address, formatAddress } from '../config/types.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { lockDirectory } from '../process/data-lock.ts';
import { stopGracefully } from '../process/lifecycle.ts';
import { portInUse, probePort } from '../process/probe-port.ts';
import { type Supervised, supervise } from '../process/supervisor.ts';
import { loadSchema } from '../schema/schema.ts';
import { version } from '../version.ts';
import { bufferOptions, checkOutage, collectorOptions } from './collect.ts';
import type { Command, CommandContext } from './command.ts';
import { clickhouseOptions, readerOptions, reportingOptions, streamerOptions } from './stream.ts';

/** `millrace start`. */
export const start: Command = {
  name: 'start',
  summary: 'Run everything on this machine: collector, streamer and embedded ClickHouse',
  arguments: [],
  options: [
    ...collectorOptions,
    ...new Set<OptionKey>([...bufferOptions, ...readerOptions]),
    ...streamerOptions,
    ...clickhouseOptions,
    ...reportingOptions,
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
    loadSchema(config.schema);
    const unlock = await lockDirectory(config.dataDir);
    const running: Supervised[] = [];
    // Data order: events stop coming in, then they stop being delivered, then ClickHouse closes.
    const stopping = new AbortController();
    const stop = async (): Promise<void> => {
      stopping.abort();
      // A signal may have reached the children, too: none of them is missed now.
      for (const child of running) child.expectEnd();
      if (running.length > 0)
        process.stdout.write('Stopping: requests in flight are finished, inserts committed.\n');
      for (const child of [...running].reverse()) await child.stop();
      unlock();
    };
    if (config.logLevel === 'info') log.level = 'warn';
    stopGracefully(stop, { log, timeoutMs: config.drainDelay + 4 * config.stopTimeout });
    try {
      await probePorts(config);
      await launchAll(context, running, stopping.signal);
    } catch (error) {
      // Stopped in the middle of the start: whoever stops it ends the process.
      if (stopping.signal.aborted) return undefined;
      await stop();
      throw error;
    }
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    process.stdout.write(formatBanner(config, seconds));
    return undefined;
  },
};

async function launchAll(
  { config, flags, log }: CommandContext,
  running: Supervised[],
  stopping: AbortSignal,
): Promise<void> {
  const env = childEnvironment(config, flags);
  const launch = async (command: string, more: NodeJS.ProcessEnv = {}): Promise<void> => {
    stopping.throwIfAborted();
    const stopTimeoutMs = config.stopTimeout + (command === 'collect' ? config.drainDelay : 0);
    const options = { command, env: { ...env, ...more }, log, stopTimeoutMs: stopTimeoutMs + 2_000 };
    const child = supervise(options);
    running.push(child);
    await child.ready;
  };
  // Each call of the engine occupies a thread of Node's pool, which has four unless told before the start.
  if (config.embeddedClickhouse) await launch('clickhouse', { UV_THREADPOOL_SIZE: '8' });
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

function describeOutage({ onOutage, dataDir }: Config): string {
  if (onOutage === 'spool') return `while Kafka is away events wait in ${resolve(dataDir, 'spool')}`;
  return 'while Kafka is away posts get 503; --on-outage spool keeps them on this disk';
}

function formatBanner(config: Config, seconds: string): string {
  const collector = `http://${formatAddress(config.listen)}`;
  const streamer = `http://${formatAddress(config.streamListen)}`;
  const clickhouse = config.clickhouseUrl.origin;
  const database =
    config.clickhouseDatabase === 'default'
      ? ''
      : `?database=${encodeURIComponent(config.clickhouseDatabase)}`;
  const user = (config.clickhousePassword ?? '') === '' ? '' : ` -u ${config.clickhouseUser}:PASSWORD`;
  const sql =
    'SELECT received_at, event, os, browser FROM events ORDER BY received_at DESC LIMIT 5 FORMAT PrettyCompact';
  const buffer =
    config.buffer === 'kafka'
      ? `Kafka at ${config.kafkaBrokers.map(formatAddress).join(',')}, topic ${config.kafkaTopic}`
      : `embedded log in ${resolve(config.dataDir)}`;
  const outage = config.buffer === 'kafka' ? `\n  outage      ${describeOutage(config)}` : '';
  return `Millrace ${version} is ready after ${seconds} s.

  collector   ${collector}    events in; /status, /metrics
  streamer    ${streamer}    events to ClickHouse; /status, /metrics
  ClickHouse  ${clickhouse}    ${config.embeddedClickhouse ? 'embedded, ' : ''}SQL
  buffer      ${buffer}${outage}

Send an event:
  curl ${collector}/v1/events -H 'content-type: application/json' -d '{"event":"view","os":"linux","browser":"chrome"}'

A second later, read it back:
  curl${user} '${clickhouse}/${database}' --data-binary '${sql}'

Ctrl-C stops everything in order; the next start goes on where this one stopped.
`;
}
