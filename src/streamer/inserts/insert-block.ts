/**
 * One attempt to bring a block into ClickHouse: repeats, then dead letters, then all others under one token.
 *
 * Refused records as dead letters, and as rows of `dead_letters`.
 */
import { crc32 } from 'node:zlib';
import type { OwnedPartition, PartitionIdentity } from '../../buffer/buffer.ts';
import type { ClickHouse } from '../../clickhouse/client.ts';
import { ClickHouseError, columnOf } from '../../clickhouse/errors.ts';
import type { EventsStructure } from '../../clickhouse/inserts.ts';
import {
  insertEventsStatement,
  insertLettersStatement,
  insertRepeatsStatement,
  insertSettings,
} from '../../clickhouse/inserts.ts';
import { type DeadLetter, encodeDeadLetters, unreadableCode } from '../../clickhouse/rows/dead-letter.ts';
import { encodeNative } from '../../clickhouse/rows/native-block.ts';
import { RowBinary } from '../../clickhouse/rows/native-columns.ts';
import {
  createRowProbe,
  findRefusedRows,
  isDataError,
  type RefusedRow,
  refusesAllRows,
} from '../../clickhouse/rows/refused-rows.ts';
import type { Tables } from '../../clickhouse/tables.ts';
import type { DeadLetterTopic } from '../../dead-letters/dead-letter-topic.ts';
import { passFaultPoint } from '../../process/fault-point.ts';
import type { SealedBatch } from '../protocol/batch.ts';
import type { Lease } from '../protocol/lease.ts';
import { findOffsets } from './delivered-offsets.ts';

/** Rows of a batch that are inserted together. */
export interface Block {
  /** The token for those of the rows that one insert carries. */
  readonly tokenFor: (rows: readonly number[]) => string;
  readonly batch: SealedBatch;
  /** Positions in the batch, ascending. */
  readonly rows: readonly number[];
}

/** Where blocks go. */
export interface BlockTarget {
  readonly clickhouse: ClickHouse;
  readonly tables: Tables;
  /** Structure of `events`. */
  readonly structure: Pick<EventsStructure, 'current' | 'read'>;
  /** Takes dead letters beside the table: a topic of Kafka. */
  readonly deadLetterTopic?: Pick<DeadLetterTopic, 'publish'> | undefined;
  /** Told of the error of an insert that has rows which ClickHouse refuses. */
  readonly refused?: (error: ClickHouseError) => void;
}

/** Who inserts: the partition, and the right to. */
export interface BlockOwner {
  readonly partition: OwnedPartition;
  readonly lease: Lease;
}

/** What became of the rows of a block. */
export interface BlockResult {
  /** Rows in `events`. */
  readonly rows: number;
  /** Rows in `repeats`. */
  readonly repeats: number;
  readonly refused: readonly RefusedRow[];
}

/** Milliseconds after the request for the fault point within an insert: most are under way then. */
const midInsertMs = 3;
/** Of the reason of a dead letter, characters. */
const maxReasonLength = 2_000;

/**
 * Inserts a block. Rows that are not for `events` are written first: at no moment is a row nowhere while the
 * others are there.
 * @throws ClickHouseError, ClickHouseUnavailableError: the whole attempt can be repeated with the same tokens
 * @throws FencedError when the partition has another owner
 */
export async function insertBlock(
  target: BlockTarget,
  block: Block,
  { partition, lease }: BlockOwner,
): Promise<BlockResult> {
  const { clickhouse, tables, structure, deadLetterTopic } = target;
  const { batch, tokenFor } = block;

  async function send(sql: string, body: Uint8Array, uniqueToken: string): Promise<void> {
    await lease.hold();
    await clickhouse.insert(sql, body, {
      settings: { ...insertSettings, insert_deduplication_token: uniqueToken },
    });
  }

  async function sendRows(rows: readonly number[], token: string): Promise<void> {
    const { columns, body } = encodeNative(batch.rows, rows, await structure.current());
    passFaultPoint('insert-sent', midInsertMs);
    await send(insertEventsStatement(tables, columns), body, token);
  }

  async function sendEvents(rows: readonly number[]): Promise<void> {
    if (rows.length === 0) return;
    await sendRows(rows, tokenFor(rows));
    passFaultPoint('insert-answered');
  }

  async function sendDeadLetters(refused: readonly RefusedRow[]): Promise<void> {
    const news = await withoutWritten(target, block, { refused, partition });
    if (news.length > 0) {
      const letters = deadLettersOf(batch, news, partition);
      // Before the table: what is in the table is not looked at again.
      await deadLetterTopic?.publish(letters);
      const sql = insertLettersStatement(tables);
      const body = encodeDeadLetters(letters, batch.plan.sealedAt);
      await send(sql, body, partToken(block, 'dead', news));
    }
    passFaultPoint('dead-letters-written');
  }

  const isHere = new Set(batch.repeats.length + batch.unreadable.length > 0 ? block.rows : []);
  const repeats = batch.repeats.filter(({ index }) => isHere.has(index));
  if (repeats.length > 0) {
    const { withRaw } = await structure.current();
    const sql = insertRepeatsStatement(tables, withRaw);
    await send(sql, encodeRepeats(block, partition, withRaw), partToken(block, 'repeats', repeats));
    passFaultPoint('repeats-written');
  }
  const unreadable = unreadableOf(batch).filter(({ index }) => isHere.has(index));
  if (unreadable.length > 0) await sendDeadLetters(unreadable);
  const isNoEvent = new Set([...repeats, ...unreadable].map(({ index }) => index));
  const rows = isNoEvent.size === 0 ? block.rows : block.rows.filter((index) => !isNoEvent.has(index));
  try {
    await sendEvents(rows);
    return { rows: rows.length, repeats: repeats.length, refused: unreadable };
  } catch (error) {
    if (!(error instanceof ClickHouseError && isDataError(error))) throw error;
    target.refused?.(error);
    // What was refused may be of a type that the table no longer has.
    const probe = createRowProbe(clickhouse, await structure.read(), { signal: partition.signal });
    if (await refusesAllRows(partition, probe)) throw notAboutRows(error);
    const refused = await findRefusedRows(batch.rows, rows, probe);
    if (refused.length === 0) throw notAlone(error);
    await sendDeadLetters(refused);
    const isRefused = new Set(refused.map(({ index }) => index));
    const good = rows.filter((index) => !isRefused.has(index));
    await sendEvents(good);
    return { rows: good.length, repeats: repeats.length, refused: [...unreadable, ...refused] };
  }
}

/** Rows are tried against the columns that Millrace fills; what an operator has added to the table it cannot try. */
function notAlone(error: ClickHouseError): ClickHouseError {
  const cause =
    'the columns of Millrace accept every row, but a column, a constraint or a materialized view that was added ' +
    'to the table refuses some. Change or drop it; nothing is lost meanwhile';
  return new ClickHouseError(error.code, `${cause}. ${error.message}`, `${cause}. ${error.detail}`);
}

/** No row is to blame when an empty event is refused as well. */
function notAboutRows(error: ClickHouseError): ClickHouseError {
  const cause =
    'ClickHouse refuses every row, even an empty event: a setting in the profile of the user, or a column of the ' +
    'table that was altered by hand, does not fit. Correct it; nothing is lost meanwhile';
  return new ClickHouseError(error.code, `${cause}. ${error.message}`, `${cause}. ${error.detail}`);
}

/**
 * Token of the rows of a block that are not for `events`. Made of which they are: where a later owner finds others,
 * as after the table was altered, its insert must not pass for a repeat of the earlier one.
 */
function partToken({ tokenFor }: Block, part: string, rows: readonly { index: number }[]): string {
  const indexes = rows.map(({ index }) => index);
  return `${tokenFor(indexes)}:${part}:${crc32(JSON.stringify(indexes))}`;
}

/** The refused rows that are not among the dead letters: an earlier owner may have found some of them. */
async function withoutWritten(
  { clickhouse, tables }: BlockTarget,
  { batch }: Block,
  { refused, partition }: { refused: readonly RefusedRow[]; partition: OwnedPartition },
): Promise<RefusedRow[]> {
  const range = { identity: partition, range: batch.plan, table: 'deadLetters' } as const;
  const found = await findOffsets(clickhouse, tables, range);
  const written = new Set(found.map(({ offset }) => offset));
  return refused.filter(({ index }) => !written.has(batch.rows.record(index).offset));
}

/** The rows of `repeats` in RowBinary, in the order of {@link insertRepeatsStatement}. */
function encodeRepeats(
  { batch, rows }: Block,
  { topic, topicId, partition }: PartitionIdentity,
  withRaw: boolean,
): Buffer {
  const encoded = new RowBinary();
  const isHere = new Set(rows);
  for (const { index, earlierOffset } of batch.repeats) {
    if (!isHere.has(index)) continue;
    const { offset, receivedAt, eventId, raw } = batch.rows.record(index);
    encoded.text(topic).text(topicId).uint32(partition).int64(offset).int64(receivedAt);
    encoded.text(eventId).int64(earlierOffset);
    if (withRaw) encoded.text(raw);
  }
  return encoded.build();
}

/** All of a batch, under the token of its plan. */
export function blockOf(batch: SealedBatch): Block {
  return { tokenFor: () => batch.plan.token, batch, rows: allRowsOf(batch) };
}

/** Positions of all records of a batch. */
export function allRowsOf({ rows }: SealedBatch): number[] {
  const indexes: number[] = [];
  for (let index = 0; index < rows.count; index++) indexes.push(index);
  return indexes;
}

/** The records of a batch that cannot be read, as refused rows. */
function unreadableOf({ unreadable }: Pick<SealedBatch, 'unreadable'>): RefusedRow[] {
  return unreadable.map(({ index, reason }) => ({
    index,
    error: { code: unreadableCode, message: reason, detail: reason },
  }));
}

/** The refused rows of a batch as dead letters; `raw` is a view on the batch. */
export function deadLettersOf(
  batch: SealedBatch,
  refused: readonly RefusedRow[],
  { topic, topicId, partition }: PartitionIdentity,
): DeadLetter[] {
  return refused.map(({ index, error }) => ({
    topic,
    topicId,
    partition,
    ...batch.rows.record(index),
    code: error.code,
    column: columnOf(error.detail),
    reason: error.detail.slice(0, maxReasonLength),
  }));
}
