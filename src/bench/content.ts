/**
 * Whether what is stored is what was posted: each text that was acknowledged must be in `raw` as often as it was
 * acknowledged. What a run posts is known here, so the buffer is not asked.
 */
import { createHash } from 'node:crypto';
import { deliveryTables } from '../clickhouse/tables.ts';
import { hasRaw } from '../verify/content.ts';
import { conditionsOf, numberSettings, type Source } from '../verify/coverage.ts';
import { type Hulls, withinHulls } from './compare-receipts.ts';
import type { Payload } from './payload.ts';

/** What was posted, and how often it was acknowledged. */
export interface Posted {
  readonly payload: Pick<Payload, 'bodies' | 'eventsPerPost'>;
  /** By body, the number of posts of which every event was acknowledged. */
  readonly acknowledged: ArrayLike<number>;
}

/** An event of the table that nobody of this run has posted. */
interface StrangeEvent {
  readonly partition: number;
  readonly offset: number;
}

/** What became of the content, in events. Names are those of the JSON. */
export interface ContentFinding {
  /** Stored as they were posted. */
  readonly checked: number;
  /** Acknowledged, and not stored as they were posted. */
  readonly different: number;
  /** Acknowledged, and nobody can tell: `unchecked_reason` says why. */
  readonly unchecked: number;
  readonly unchecked_reason: string | null;
  /** The first rows with different bytes than any that were posted; rows of others may be among them. */
  readonly strange_events: readonly StrangeEvent[];
}

/** What content is compared by: the first 8 bytes of the SHA-256, as a number of ClickHouse. */
type Digest = string;

/** Different texts that are told apart: a run has at most 100,000, the rest are of others. */
const mostTexts = 500_000;
const mostStrangers = 1_000;
const mostListed = 10;

/**
 * Compares texts and bytes within the hulls, once everything is stored.
 * @param receipts distinct receipts of partitions within the hulls
 */
export async function compareTexts(
  source: Source,
  { hulls, receipts, posted }: { hulls: Hulls; receipts: number; posted: Posted },
): Promise<ContentFinding> {
  if (!(await hasRaw(source))) return unchecked(receipts, 'the tables have no column raw');
  const expected = expectTexts(posted);
  const total = [...expected.values()].reduce((sum, count) => sum + count, 0);
  const rows = rowsWithin(source, hulls);
  const found = await source.clickhouse.query<{ digest: Digest; events: number; empty: number }>(
    `SELECT toString(${digestOf}) AS digest, count() AS events, countIf(raw = '') AS empty
     FROM (${rows}) GROUP BY digest LIMIT ${mostTexts + 1}`,
    { settings: numberSettings },
  );
  if (found.length > mostTexts)
    return unchecked(receipts, 'too many other events lie between the events of this run');
  const stored = new Map(found.map(({ digest, events }) => [digest, events]));
  const empty = found.reduce((sum, one) => sum + one.empty, 0);
  let lacking = 0;
  for (const [digest, count] of expected) lacking += Math.max(0, count - (stored.get(digest) ?? 0));
  // A row without bytes may be any of those that are not found.
  const unknown = Math.min(lacking, empty);
  const different = lacking - unknown;
  return {
    checked: total - lacking,
    different,
    unchecked: Math.max(0, receipts - total) + unknown,
    unchecked_reason:
      unknown > 0
        ? 'the tables do not keep their bytes (--keep-raw)'
        : receipts > total
          ? 'other events of their posts were rejected'
          : null,
    strange_events: different > 0 ? await findStrange(source, rows, strangersOf(stored, expected)) : [],
  };
}

/** Nobody looked. */
export function unchecked(events: number, reason: string): ContentFinding {
  return { checked: 0, different: 0, unchecked: events, unchecked_reason: reason, strange_events: [] };
}

const digestOf = 'reinterpretAsUInt64(substring(SHA256(raw), 1, 8))';

/** How often each text was acknowledged. */
function expectTexts({ payload: { bodies, eventsPerPost }, acknowledged }: Posted): Map<Digest, number> {
  const expected = new Map<Digest, number>();
  for (const [i, body] of bodies.entries()) {
    const times = acknowledged[i] ?? 0;
    if (times === 0) continue;
    const texts = eventsPerPost === 1 ? [body] : body.toString().trimEnd().split('\n');
    for (const text of texts) {
      const digest = String(createHash('sha256').update(text).digest().readBigUInt64LE());
      expected.set(digest, (expected.get(digest) ?? 0) + times);
    }
  }
  return expected;
}

function rowsWithin(source: Source, hulls: Hulls): string {
  const where = [...conditionsOf(source), ...withinHulls(hulls)].join(' AND ');
  return deliveryTables(source.tables)
    .map((table) => `SELECT partition, offset, raw FROM ${table} WHERE ${where}`)
    .join(' UNION ALL ');
}

/** Some of the texts that nobody of this run has posted. */
function strangersOf(stored: ReadonlyMap<Digest, number>, expected: ReadonlyMap<Digest, number>): Digest[] {
  return [...stored.keys()].filter((digest) => !expected.has(digest)).slice(0, mostStrangers);
}

async function findStrange(
  { clickhouse }: Source,
  rows: string,
  digests: readonly Digest[],
): Promise<StrangeEvent[]> {
  if (digests.length === 0) return [];
  return await clickhouse.query<StrangeEvent>(
    `SELECT DISTINCT partition, offset FROM (${rows})
     WHERE raw != '' AND ${digestOf} IN (${digests.join(', ')}) ORDER BY partition, offset LIMIT ${mostListed}`,
    { settings: numberSettings },
  );
}
