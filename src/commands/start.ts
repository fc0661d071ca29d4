/** What `millrace start` prints when everything runs. */
import { basename, relative, resolve } from 'node:path';
import { passwordFile, readerUser } from '../clickhouse/credentials.ts';
import { type Config, type OptionKey, optionName, options, variableName } from '../config/options.ts';
import { type Address, formatAddress } from '../config/types.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { forkProgram, type ProcessOptions, type Supervised, supervise } from '../process/children.ts';
import { lockDirectory } from '../process/data-lock.ts';
import { portInUse, probePort } from '../process/hosts.ts';
import { stopGracefully } from '../process/lifecycle.ts';
import type { Sandbox } from '../process/sandbox.ts';
import { exampleEvent } from '../schema/example.ts';
import { type EventSchema, loadSchema } from '../schema/schema.ts';
import { version } from '../version.ts';
import { type PreparedEngine, prepareEngine } from './clickhouse.ts';
import {
  bufferOptions,
  type Command,
  type CommandContext,
  clickhouseOptions,
  collectorOptions,
  engineOptions,
  readerOptions,
  reportingOptions,
  streamerOptions,
} from './command.ts';
import { checkOutage } from './open-buffer.ts';

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
      // `npm start`, and `npx millrace start`.
      isBelowNpm: ['start', 'npx'].includes(process.env.npm_lifecycle_event ?? ''),
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

/** Columns of the schema in the query that is printed. */
const mostColumns = 4;

function describeOutage({ onOutage, dataDir }: Config): string {
  if (onOutage === 'spool') return `while Kafka is unreachable, events wait in ${resolve(dataDir, 'spool')}`;
  return 'while Kafka is unreachable, posts get 503; --on-outage spool keeps events on this disk instead';
}

/** What {@link formatBanner} tells beside the configuration. */
interface Started {
  /** How long the start took, as text. */
  readonly seconds: string;
  /** The embedded ClickHouse; undefined without one. */
  readonly engine: PreparedEngine | undefined;
  readonly schema: EventSchema;
}

/** Says that everything runs, where, and how to try it: the commands are for copying. */
export function formatBanner(config: Config, { seconds, engine, schema }: Started): string {
  const collector = `http://${formatAddress(config.listen)}`;
  const streamer = `http://${formatAddress(config.streamListen)}`;
  const clickhouse = config.clickhouseUrl.origin;
  const database =
    config.clickhouseDatabase === 'default'
      ? ''
      : `?database=${encodeURIComponent(config.clickhouseDatabase)}`;
  const event = exampleEvent(schema);
  const sql = `SELECT ${shownColumns(schema, event)} FROM events ORDER BY received_at DESC LIMIT 5`;
  const buffer =
    config.buffer === 'kafka'
      ? `Kafka at ${config.kafkaBrokers.map(formatAddress).join(',')}, topic ${config.kafkaTopic}`
      : `embedded log in ${resolve(config.dataDir)}`;
  const outage = config.buffer === 'kafka' ? `\n  outage      ${describeOutage(config)}` : '';
  return `Millrace ${version} is ready after ${seconds} s.

  collector   ${collector}    events in; /status, /metrics
  streamer    ${streamer}    events to ClickHouse; /status, /metrics
  ClickHouse  ${clickhouse}    ${engine === undefined ? '' : `embedded, ${describeSafety(config, engine.sandbox)}; `}SQL
  buffer      ${buffer}${outage}

Send an event:
  ${formatSending(`${collector}/v1/events`, schema, event)}

A second later you can read it back:
  ${ownName()} sql${sqlFlags(config)} ${sql.includes('"') ? quoteShell(sql) : `"${sql}"`}

or, with the password file, through any client of ClickHouse:
  curl${formatLogin(config)} '${clickhouse}/${database}' --data-binary ${quoteShell(`${sql} FORMAT PrettyCompact`)}

Ctrl-C stops everything in order; the next start continues where this one stopped.
`;
}

function formatSending(url: string, { file }: EventSchema, event: object | undefined): string {
  const head = `curl ${url} -H 'content-type: application/json' -d`;
  if (event !== undefined) return `${head} ${quoteShell(JSON.stringify(event))}`;
  return `${head} EVENT    where EVENT is a JSON object that matches ${file}`;
}

/** The columns that the example fills, or else the first. */
function shownColumns({ columns }: EventSchema, event: object = {}): string {
  const names = columns.map(({ name }) => name);
  const filled = names.filter((name) => Object.hasOwn(event, name));
  const order = Object.keys(event);
  filled.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  const shown = (filled.length > 0 ? filled : names).slice(0, mostColumns);
  return ['received_at', ...shown.map(quoteName), ...(shown.length === 0 ? ['data'] : [])].join(', ');
}

/** A name as SQL has it. Any may be a word of SQL, but for those of the schema that comes with this program. */
function quoteName(name: string): string {
  return ['event', 'os', 'browser'].includes(name) ? name : `"${name}"`;
}

function describeSafety(config: Config, { kind, confines }: Sandbox): string {
  const login = config.clickhouseAuth ? 'with a password' : 'WITHOUT A PASSWORD';
  return kind === 'none' ? `${login}, without a sandbox` : `${login}, in a sandbox (${kind}: ${confines})`;
}

/**
 * How this program is run from here. Not by `npx`: where it finds no such package it installs whatever has that name in
 * the registry.
 */
function ownName(): string {
  const script = process.argv[1] ?? '';
  return basename(script) === 'millrace' ? 'millrace' : `node ${quoteShell(relative('.', script) || script)}`;
}

/** What `millrace sql` must be told to find this ClickHouse: what was given to `start` as flags. */
function sqlFlags(config: Config): string {
  const wanted = [
    ['data-dir', config.dataDir, './data'],
    ['clickhouse-url', config.clickhouseUrl.origin, 'http://127.0.0.1:8123'],
    ['clickhouse-database', config.clickhouseDatabase, 'default'],
  ];
  return wanted
    .map(([name, value, usual]) => (value === usual ? '' : ` --${name} ${quoteShell(value)}`))
    .join('');
}

/** The reader's login for curl, which takes the password out of its file. */
function formatLogin(config: Config): string {
  if (!config.embeddedClickhouse) return '';
  if (!config.clickhouseAuth) return '';
  const file = passwordFile(config.dataDir, 'reader');
  const text = config.clickhouseReaderPassword === undefined ? `$(cat ${quoteShell(file)})` : 'PASSWORD';
  return ` -u "${readerUser}:${text}"`;
}

function quoteShell(text: string | undefined): string {
  return /^[\w@%+=:,./-]+$/.test(text ?? '') ? (text ?? '') : `'${(text ?? '').replaceAll("'", "'\\''")}'`;
}
