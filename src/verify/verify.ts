/**
 * Compares the buffer with ClickHouse while both are in use. The order of the looks makes it sound:
 *
 * 1. the buffer: every offset below a commit is delivered from here on, and stays so;
 * 2. ClickHouse: the offsets below those commits must all be there;
 * 3. the buffer again: rows beyond an end that is read now are of no record.
 */
import type { BufferInspector, TopicView } from '../buffer/buffer.ts';
import type { ClickHouse } from '../clickhouse/client.ts';
import { isMissingTable } from '../clickhouse/errors.ts';
import { deliveryTables, syncReplica, type Tables } from '../clickhouse/tables.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { compareContent } from './content.ts';
import { type Bucket, readBuckets, regions, type Source } from './coverage.ts';
import { findDuplicates, findEarlierTopics, findExpired, findForeign, findKeptRepeats } from './faults.ts';
import { findMissing, type Missing, type ReadBudget } from './missing.ts';
import {
  chooseScope,
  findFirst,
  type PartitionScope,
  type ScopeOptions,
  waitForDelivery,
} from './partition-scope.ts';
import { mostListed } from './ranges.ts';
import type { Receipts } from './receipts.ts';
import { checkSpools, reportReceipts, type UndeliveredReceipts } from './receipts-report.ts';
import { collectNotes, judge, type PartitionReport, type Report, sumContent, sumCounts } from './report.ts';

/** What to compare, and how. */
export interface VerifyOptions extends ScopeOptions {
  readonly inspector: BufferInspector;
  readonly clickhouse: ClickHouse;
  readonly tables: Tables;
  /** How long to wait for what was in the buffer at the start, milliseconds. */
  readonly waitMs: number;
  readonly receipts: Receipts | undefined;
  /** Most bytes of records read to tell missing records from gaps. Default 1 GiB. */
  readonly maxReadBytes?: number;
  /** Whether to compare the bytes of records as well. */
  readonly content?: boolean;
  /** Told what is being done, for a person who waits. */
  readonly onStep?: (step: string) => void;
}

/**
 * Compares.
 * @throws BufferUnavailableError, ClickHouseError and others when one of the two cannot be asked
 * @throws OperatorError when the topic is made anew meanwhile, or the commits are not those of a streamer
 */
export async function verify(options: VerifyOptions): Promise<Report> {
  const startedAt = performance.now();
  const { inspector, receipts, waitMs, tables, clickhouse, onStep = () => {} } = options;
  if (waitMs > 0) onStep('waiting until everything is delivered');
  const allDelivered = waitMs > 0 ? await waitForDelivery(inspector, waitMs) : null;
  const view = await inspector.view();
  const source: Source = { clickhouse, tables, topic: inspector.topic, topicId: view.topicId };
  const scopes = await chooseScope(inspector, view, { ...options, receipts: receipts?.partitions });
  onStep('counting rows');
  const buckets = await readAllBuckets(source, scopes, options);
  const after = await inspector.view();
  checkSame(inspector.topic, view, after);
  const foreignRows = await findForeign(source, [...buckets.values()].flat(), after);
  const expired = await findExpired(source, scopes, receipts?.partitions);
  const budget = { left: options.maxReadBytes ?? 1024 ** 3 };
  const missing: UndeliveredReceipts[] = [];
  const partitions: PartitionReport[] = [];
  for (const scope of scopes) {
    onStep(`checking partition ${scope.partition}`);
    const own = buckets.get(scope.partition) ?? [];
    const foreign = foreignRows
      .filter(({ partition }) => partition === scope.partition)
      .reduce((sum, { rows }) => sum + rows, 0);
    partitions.push(
      await reportPartition({ source, inspector, budget }, scope, {
        own,
        foreign,
        expired: expired.get(scope.partition),
        receipts,
        missing,
      }),
    );
  }
  if (options.content === true) onStep('comparing bytes');
  const content =
    options.content === true && isUsed(scopes) ? await compareContent({ source, inspector, scopes }) : [];
  const spools = await checkSpools(source, receipts?.spools ?? new Map());
  const total = sumCounts(partitions);
  const report = {
    topic: inspector.topic,
    topic_id: view.topicId,
    total: { ...total, foreign: foreignRows.reduce((sum, { rows }) => sum + rows, 0) },
    partitions,
    foreign_rows: foreignRows,
    earlier_topics: isUsed(scopes) ? await findEarlierTopics(source) : [],
    all_delivered: allDelivered,
    receipts: receipts === undefined ? null : reportReceipts(receipts, { scopes, missing, spools }),
    content: options.content === true ? sumContent(content) : null,
    seconds: Math.round(performance.now() - startedAt) / 1_000,
  };
  const notes = collectNotes(report, {
    ...options,
    isDense: inspector.isDense,
    isBudgetUsed: budget.left <= 0,
  });
  return { verdict: judge(report), ...report, notes };
}

/** Buckets by partition, also of partitions that the buffer does not have. */
async function readAllBuckets(
  source: Source,
  scopes: readonly PartitionScope[],
  { since, until }: ScopeOptions,
): Promise<Map<number, Bucket[]>> {
  const limits = {
    from: since === undefined && until === undefined ? undefined : ('span' as const),
    to: until === undefined ? undefined : ('span' as const),
  };
  const byPartition = new Map<number, Bucket[]>();
  try {
    await syncReplica(source.clickhouse, source.tables, deliveryTables(source.tables));
    for await (const slice of readBuckets(source, scopes, limits)) {
      for (const bucket of slice) {
        const list = byPartition.get(bucket.partition);
        if (list === undefined) byPartition.set(bucket.partition, [bucket]);
        else list.push(bucket);
      }
    }
  } catch (error) {
    // Before the first streamer there are no tables, and nothing that had to be in them.
    if (!isMissingTable(error) || isUsed(scopes)) throw error;
  }
  return byPartition;
}

function isUsed(scopes: readonly PartitionScope[]): boolean {
  return scopes.some(({ view }) => view.commit !== undefined);
}

function checkSame(topic: string, before: TopicView, after: TopicView): void {
  if (before.topicId === after.topicId) return;
  throw new OperatorError(
    `topic ${topic} was deleted and created again during the comparison, so there is no result. Run verify again`,
    exitCodes.unavailable,
  );
}

async function reportPartition(
  context: { source: Source; inspector: BufferInspector; budget: ReadBudget },
  scope: PartitionScope,
  input: {
    own: readonly Bucket[];
    foreign: number;
    expired: Missing | undefined;
    receipts: Receipts | undefined;
    missing: UndeliveredReceipts[];
  },
): Promise<PartitionReport> {
  const { partition, view, checked, committed, inFlight } = scope;
  const { own, foreign, expired } = input;
  const receipts = input.receipts?.partitions.get(partition);
  const found = await findMissing(context, scope, { buckets: own, receipts });
  for (const { receipts: list } of [found, ...(expired === undefined ? [] : [expired])])
    if (receipts !== undefined) input.missing.push({ partition, found: list });
  const duplicates = await findDuplicates(context.source, { partition, buckets: own });
  const kept = await findKeptRepeats(context.source, { partition, buckets: own });
  const oldest = await findFirst(context.inspector, view, { start: committed, end: view.end });
  const inside = own.filter(({ region }) => region === regions.checked);
  const sum = (key: 'rows' | 'dead_letters' | 'repeats') => inside.reduce((n, bucket) => n + bucket[key], 0);
  const lost = expired?.missing.offsets ?? 0;
  const deliveredEnd = Math.max(inFlight?.end ?? committed, view.start);
  return {
    partition,
    checked,
    buffer: { start: view.start, end: view.end },
    committed: scope.isCommitted ? committed : null,
    offsets: checked.end - checked.start,
    rows: sum('rows'),
    dead_letters: sum('dead_letters'),
    repeats: sum('repeats'),
    gaps: found.gaps,
    missing: found.missing.offsets + lost,
    // In Kafka there may have been no record.
    unconfirmed: found.unconfirmed + (context.inspector.isDense ? 0 : lost),
    missing_ranges: [...found.missing.ranges, ...(expired?.missing.ranges ?? [])].slice(0, mostListed),
    expired: lost === 0 || scope.expired === undefined ? null : { ...scope.expired, missing: lost },
    duplicated: duplicates.offsets,
    duplicated_ranges: duplicates.ranges,
    repeats_kept: kept.offsets,
    repeats_kept_ranges: kept.ranges,
    foreign,
    in_flight: inFlight === undefined ? 0 : inFlight.end - inFlight.start,
    in_flight_range: inFlight ?? null,
    waiting: oldest === undefined ? 0 : Math.max(0, view.end - deliveredEnd),
    oldest_undelivered_seconds:
      oldest === undefined ? null : Math.max(0, Math.round((Date.now() - oldest.receivedAt) / 100) / 10),
  };
}
