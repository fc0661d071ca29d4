/** Rows that no record of the buffer stands behind. */
import type { TopicView } from '../buffer/buffer.ts';
import { quoteText } from '../clickhouse/client.ts';
import { type Bucket, conditionsOf, numberSettings, type Source } from './coverage.ts';

/** Rows of one table and partition that lie beyond the end of the buffer, or in a partition that it does not have. */
export interface ForeignRows {
  readonly table: string;
  readonly partition: number;
  readonly rows: number;
  readonly first: number;
  readonly last: number;
}

/** Rows of a topic that had the same name before. */
export interface EarlierTopic {
  readonly topic_id: string;
  readonly rows: number;
}

/**
 * Finds foreign rows. `after` must have been taken after the buckets were read: a record is in the buffer before
 * its row is in a table, so what lies beyond an end that was read later cannot have come from there.
 */
export async function findForeign(
  source: Source,
  buckets: readonly Bucket[],
  after: TopicView,
): Promise<ForeignRows[]> {
  const highest = new Map<number, number>();
  for (const { partition, highest: top } of buckets)
    highest.set(partition, Math.max(top, highest.get(partition) ?? 0));
  // Up to the highest that was seen before: rows that have come since then may be of newer records.
  const terms = [...highest].flatMap(([partition, top]) => {
    const end = after.partitions[partition]?.end ?? 0;
    return top < end ? [] : [`(partition = ${partition} AND offset >= ${end} AND offset <= ${top})`];
  });
  if (terms.length === 0) return [];
  const where = [...conditionsOf(source), `(${terms.join(' OR ')})`].join(' AND ');
  const { events, deadLetters, repeats } = source.tables;
  const tables = Object.entries({ events, dead_letters: deadLetters, repeats }).map(
    ([name, table]) => `
      SELECT '${name}' AS table, partition, count() AS rows, min(offset) AS first, max(offset) AS last
      FROM ${table} WHERE ${where} GROUP BY partition`,
  );
  const sql = `SELECT * FROM (${tables.join(' UNION ALL ')}) ORDER BY table, partition`;
  return await source.clickhouse.query<ForeignRows>(sql, { settings: numberSettings });
}

/** Finds rows of earlier topics of the same name: they are nobody's fault. */
export async function findEarlierTopics({
  clickhouse,
  tables,
  topic,
  topicId,
}: Source): Promise<EarlierTopic[]> {
  return await clickhouse.query<EarlierTopic>(
    `SELECT topic_id, count() AS rows FROM ${tables.events}
     WHERE topic = ${quoteText(topic)} AND topic_id != ${quoteText(topicId)} GROUP BY topic_id ORDER BY topic_id`,
    { settings: numberSettings },
  );
}
