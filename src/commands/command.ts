/** What a command is. */
import type { Logger } from 'pino';
import type { Config, OptionKey } from '../config/options.ts';
import type { ExitCode } from '../errors.ts';

/** What a command gets to work with. */
export interface CommandContext {
  readonly config: Config;
  /** Positional arguments, of one of the forms that the command has. */
  readonly args: readonly string[];
  /** Flags as they were given, for handing on to child processes. */
  readonly flags: Readonly<Record<string, string | boolean>>;
  /** JSON lines on standard error. Standard output is for data. */
  readonly log: Logger;
}

/** Exit codes of every command. */
export const commonExitCodes = {
  0: 'ok',
  1: 'failure',
  2: 'wrong usage',
  69: 'a dependency is unavailable',
  78: 'a fault in the configuration',
} as const satisfies Partial<Record<ExitCode, string>>;

/** A command in the table: enough for the list of `--help`, without loading what it runs. */
export interface CommandEntry {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Whether it stores: whatever it creates is for its user alone. Others write what a user asks for, such as a report. */
  readonly stores?: true;
  /** Imports the command. A process holds the one that it runs, and no other. */
  load(): Promise<Command>;
}

/** What a command takes and does. */
export interface Command {
  /** Names of the positional arguments, all required. A name in angle brackets stands for a value, any other for itself. */
  readonly arguments: readonly string[];
  /** Other lists of arguments that it can be given instead. */
  readonly otherForms?: readonly (readonly string[])[];
  /** Options that it takes as flags, in the order of its `--help`. */
  readonly options: readonly OptionKey[];
  /** Shorter names of some of them, which this command alone takes: `format` for `output-format`. */
  readonly aliases?: Readonly<Record<string, OptionKey>>;
  /** What its own exit codes mean, where that is more than {@link commonExitCodes} says. */
  readonly exitCodes?: Readonly<Partial<Record<ExitCode, string>>>;
  /** Lines to try, shown in `--help`. */
  readonly examples: readonly string[];
  /**
   * Runs it. A long-running command installs its own stop handler, returns undefined and lives on; any other
   * returns its exit code.
   * @throws OperatorError with the exit code and a message for the terminal
   */
  run(context: CommandContext): Promise<ExitCode | undefined>;
}

/** Options of everything that writes to the buffer. */
export const bufferOptions = [
  'buffer',
  'dataDir',
  'logPartitions',
  'logRetention',
  'logMaxBytes',
  'kafkaBrokers',
  'kafkaTopic',
  'kafkaCreateTopic',
  'kafkaPartitions',
  'kafkaReplication',
  'kafkaRetention',
  'kafkaCompression',
  'kafkaDeliveryTimeout',
] as const satisfies readonly OptionKey[];

/** Options of the collector alone. */
export const collectorOptions = [
  'listen',
  'statusHosts',
  'workers',
  'schema',
  'httpServer',
  'keepRequestIds',
  'maxBodyBytes',
  'maxEventBytes',
  'maxEventDepth',
  'maxEventKeys',
  'maxBatchEvents',
  'maxBodyValues',
  'maxCompressionRatio',
  'maxInFlightBytes',
  'maxRequests',
  'maxConnections',
  'appendInterval',
  'onOutage',
  'spoolMaxBytes',
  'drainDelay',
] as const satisfies readonly OptionKey[];

/** Options of everything that reads the buffer. */
export const readerOptions = [
  'buffer',
  'dataDir',
  'logPartitions',
  'logMaxBytes',
  'kafkaBrokers',
  'kafkaTopic',
  'kafkaGroup',
  'kafkaCreateTopic',
  'kafkaPartitions',
  'kafkaReplication',
  'kafkaRetention',
  'kafkaSessionTimeout',
  'kafkaDeliveryTimeout',
  'deadLetterTopic',
] as const satisfies readonly OptionKey[];

/** Options of the streamer alone. */
export const streamerOptions = [
  'streamListen',
  'batchRows',
  'batchBytes',
  'batchAge',
  'deduplicationWindow',
  'deduplicationIds',
  'settleAfter',
  'keepRaw',
  'maxDynamicPaths',
] as const satisfies readonly OptionKey[];

/** Options of everything that talks to ClickHouse. */
export const clickhouseOptions = [
  'clickhouseUrl',
  'clickhouseDatabase',
  'clickhouseUser',
  'clickhousePassword',
  'clickhouseReaderPassword',
  'clickhouseAuth',
  'clickhouseCluster',
  'clickhouseTimeout',
] as const satisfies readonly OptionKey[];

/** Options of the embedded ClickHouse alone. */
export const engineOptions = [
  'clickhouseReaderPassword',
  'clickhouseAuth',
  'clickhouseHosts',
  'clickhouseOrigins',
  'clickhouseSandbox',
] as const satisfies readonly OptionKey[];

/** Options of what is told to others about this process. */
export const reportingOptions = [
  'tracesEndpoint',
  'tracesSample',
  'sentryDsn',
] as const satisfies readonly OptionKey[];
