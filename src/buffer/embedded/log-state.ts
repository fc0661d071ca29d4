/** What the log knows beside the blocks: its identity, the ends of partitions, bytes used, commits of groups. */
import type { Commit } from '../buffer.ts';
import type { Environment } from './environment.ts';

/** Written once, when the log is created. */
export interface LogIdentity {
  readonly format: number;
  readonly topicId: string;
  readonly partitions: number;
}

/** Where a partition starts and ends. */
export interface PartitionState {
  /** First offset still stored. */
  readonly start: number;
  /** Offset that the next record gets. */
  readonly end: number;
}

/** State of the whole log. */
export interface LogTotals {
  /** Bytes of disk that the stored blocks count for. */
  readonly usedBytes: number;
  /** Records ever appended, to any partition: changes with every append, so that one read notices them all. */
  readonly appended: number;
}

const formatVersion = 1;
const totalsKey = 'totals';

/** Reads the identity; undefined while nobody has created the log. */
export function readIdentity(environment: Environment): LogIdentity | undefined {
  return environment.meta.get(['log']) as LogIdentity | undefined;
}

/** Creates the log, within a transaction, unless it exists; returns what is stored. */
export function ensureIdentity(
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
export function isReadableFormat(identity: LogIdentity): boolean {
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
