/**
 * Opens an embedded log, and knows its state: identity, ends, commits; and wakes readers when something was appended.
 *
 * What the log knows beside the blocks: its identity, the ends of partitions, bytes used, commits of groups.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../../errors.ts';
import { pause } from '../../time.ts';
import type { Commit } from '../buffer.ts';
import { Environment, existsEnvironment, logPath } from './environment.ts';

/** What both ends of an embedded log need to open it; whichever comes first creates it. */
export interface EmbeddedLogOptions {
  /** Directory of all logs: `<data-dir>/log`. */
  readonly dir: string;
  /** Name of the log. */
  readonly topic: string;
  /** Number of partitions when the log is created, 1 to 256; an existing log keeps its own. */
  readonly partitions: number;
  /** Most bytes that stored blocks may take (`--log-max-bytes`). */
  readonly maxBytes: number;
  readonly log?: Logger | undefined;
}

/** An open log: {@link Environment.release} gives it back. */
export interface OpenLog {
  readonly environment: Environment;
  readonly identity: LogIdentity;
}

/**
 * Opens the log of a topic, and creates it when there is none.
 * @throws OperatorError when it cannot be opened, or a newer release has written it
 */
export async function openLog(options: EmbeddedLogOptions): Promise<OpenLog> {
  const { dir, topic, partitions, maxBytes, log } = options;
  const path = logPath(dir, topic);
  const environment = await Environment.acquire(path, mapSizeOf(maxBytes));
  try {
    environment.refresh();
    const identity =
      readIdentity(environment) ??
      (await environment.write(() => ensureIdentity(environment, { topicId: randomUUID(), partitions })));
    checkFormat(identity, path);
    if (identity.partitions !== partitions) {
      log?.warn(
        { topic, partitions: identity.partitions, wanted: partitions },
        `the embedded log was created with ${identity.partitions} partitions and keeps them: --log-partitions ${partitions} is ignored`,
      );
    }
    return { environment, identity };
  } catch (error) {
    await environment.release();
    throw error;
  }
}

/**
 * Opens the log of a topic only if there is one.
 * @throws OperatorError when there is none, it cannot be opened, or a newer release has written it
 */
export async function openExistingLog(
  options: Pick<EmbeddedLogOptions, 'dir' | 'topic' | 'maxBytes'>,
): Promise<OpenLog> {
  const path = logPath(options.dir, options.topic);
  if (!existsEnvironment(path)) throw noLog(path);
  const environment = await Environment.acquire(path, mapSizeOf(options.maxBytes));
  try {
    environment.refresh();
    const identity = readIdentity(environment);
    if (identity === undefined) throw noLog(path);
    checkFormat(identity, path);
    return { environment, identity };
  } catch (error) {
    await environment.release();
    throw error;
  }
}

/** Address space, not disk. LMDB replaces a map that has become too small, but keeps the old one as well. */
function mapSizeOf(maxBytes: number): number {
  return 2 * maxBytes + 1024 ** 3;
}

function checkFormat(identity: LogIdentity, path: string): void {
  if (isReadableFormat(identity)) return;
  throw new OperatorError(
    `The embedded log in ${path} has format ${identity.format}, which this release cannot read. Use the release that wrote it.`,
    exitCodes.configuration,
  );
}

function noLog(path: string): OperatorError {
  return new OperatorError(
    `There is no embedded log in ${path}: no collector or streamer has run there yet. Check --data-dir and --kafka-topic, or --buffer if the events go through Kafka.`,
    exitCodes.unavailable,
  );
}

/** Written once, when the log is created. */
interface LogIdentity {
  readonly format: number;
  readonly topicId: string;
  readonly partitions: number;
}

/** Where a partition starts and ends. */
interface PartitionState {
  /** First offset still stored. */
  readonly start: number;
  /** Offset that the next record gets. */
  readonly end: number;
}

/** State of the whole log. */
interface LogTotals {
  /** Bytes of disk that the stored blocks count for. */
  readonly usedBytes: number;
  /** Records ever appended, to any partition: changes with every append, so that one read notices them all. */
  readonly appended: number;
}

const formatVersion = 1;
const totalsKey = 'totals';

/** Reads the identity; undefined while nobody has created the log. */
function readIdentity(environment: Environment): LogIdentity | undefined {
  return environment.meta.get(['log']) as LogIdentity | undefined;
}

/** Creates the log, within a transaction, unless it exists; returns what is stored. */
function ensureIdentity(
  environment: Environment,
  wanted: { topicId: string; partitions: number },
): LogIdentity {
  const existing = readIdentity(environment);
  if (existing !== undefined) return existing;
  const identity = { format: formatVersion, ...wanted };
  environment.meta.putSync(['log'], identity);
  return identity;
}

/** Whether this release can use a log with that identity. */
function isReadableFormat(identity: LogIdentity): boolean {
  return identity.format === formatVersion;
}

/** Reads the state of a partition; a new one starts and ends at 0. */
export function readPartition(environment: Environment, partition: number): PartitionState {
  const [start, end] = readPair(environment, partition);
  return { start, end };
}

/** Stores the state of a partition, within a transaction. */
export function writePartition(environment: Environment, partition: number, state: PartitionState): void {
  writePair(environment, partition, state.start, state.end);
}

/** Reads the totals. */
export function readTotals(environment: Environment): LogTotals {
  const [usedBytes, appended] = readPair(environment, totalsKey);
  return { usedBytes, appended };
}

/** Stores the totals, within a transaction. */
export function writeTotals(environment: Environment, totals: LogTotals): void {
  writePair(environment, totalsKey, totals.usedBytes, totals.appended);
}

/** Reads the generation of a group: how often a reader has taken it over. */
export function readGeneration(environment: Environment, group: string): number {
  return (environment.meta.get(['generation', group]) as number | undefined) ?? 0;
}

/** Takes the group over, within a transaction: every earlier generation is fenced from now on. */
export function raiseGeneration(environment: Environment, group: string): number {
  const generation = readGeneration(environment, group) + 1;
  environment.meta.putSync(['generation', group], generation);
  return generation;
}

/** Reads what the group last committed for a partition. */
export function readCommit(environment: Environment, group: string, partition: number): Commit | undefined {
  return environment.meta.get(['commit', group, partition]) as Commit | undefined;
}

/** Stores a commit, within a transaction. */
export function writeCommit(
  environment: Environment,
  owner: { group: string; partition: number },
  commit: Commit,
): void {
  environment.meta.putSync(['commit', owner.group, owner.partition], commit);
}

/**
 * The offset before which every group has delivered, for each partition. A group is known once it has
 * committed anything; of a partition that it never committed it has delivered nothing. Undefined when no
 * group has ever committed.
 */
export function readDelivered(environment: Environment, partitions: number): number[] | undefined {
  const groups = new Map<string, number[]>();
  const range = { start: ['commit'], end: ['commit', '\uffff'] };
  for (const { key, value } of environment.meta.getRange(range)) {
    const [, group, partition] = key as [string, string, number];
    let offsets = groups.get(group);
    if (offsets === undefined) {
      offsets = new Array<number>(partitions).fill(0);
      groups.set(group, offsets);
    }
    offsets[partition] = (value as Commit).offset;
  }
  if (groups.size === 0) return undefined;
  const lists = [...groups.values()];
  return Array.from({ length: partitions }, (_, p) => Math.min(...lists.map((offsets) => offsets[p] ?? 0)));
}

/** When retention last ran, in any process; milliseconds since the epoch. */
export function readRetentionTime(environment: Environment): number {
  return (environment.meta.get(['retention']) as number | undefined) ?? 0;
}

/** Notes a run of retention, within a transaction. */
export function writeRetentionTime(environment: Environment, nowMs: number): void {
  environment.meta.putSync(['retention'], nowMs);
}

function readPair(environment: Environment, key: number | string): [number, number] {
  const bytes = environment.states.getBinaryFast(key);
  return bytes === undefined ? [0, 0] : [bytes.readDoubleLE(0), bytes.readDoubleLE(8)];
}

function writePair(environment: Environment, key: number | string, first: number, second: number): void {
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeDoubleLE(first, 0);
  bytes.writeDoubleLE(second, 8);
  environment.states.putSync(key, bytes);
}

const shortestMs = 5;
const longestMs = 25;
const slowdown = 1.2;

/**
 * Notices appends of any process. LMDB tells nobody about a commit of another process, so this polls one
 * small value for all partitions together: every 5 ms while records arrive, every 25 ms when they do not. One
 * poll costs a few microseconds.
 */
export class AppendWatch {
  readonly #environment: Environment;
  readonly #waiting = new Map<() => void, number>();
  #intervalMs = shortestMs;
  #timer: NodeJS.Timeout | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /**
   * Waits until the log has more appended records than `appended`, at most `maxMs`; returns early, without an
   * error, when the signal aborts.
   */
  async wait(appended: number, { maxMs, signal }: { maxMs: number; signal: AbortSignal }): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort();
    signal.addEventListener('abort', end, { once: true });
    this.#waiting.set(end, appended);
    this.#schedule();
    try {
      if (!signal.aborted) await pause(maxMs, over.signal);
    } finally {
      this.#waiting.delete(end);
      signal.removeEventListener('abort', end);
      if (this.#waiting.size === 0) this.#stop();
    }
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.#poll(), this.#intervalMs);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #poll(): void {
    this.#timer = undefined;
    this.#environment.refresh();
    const { appended } = readTotals(this.#environment);
    const woken = [...this.#waiting].filter(([, seen]) => seen !== appended);
    for (const [wake] of woken) wake();
    this.#intervalMs = woken.length > 0 ? shortestMs : Math.min(longestMs, this.#intervalMs * slowdown);
    if (this.#waiting.size > woken.length) this.#schedule();
  }
}
