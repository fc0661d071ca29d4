/**
 * Builds the body of an insert: one block of ClickHouse's Native format. Every value is behind its length, so that
 * whatever a record holds stays within its own row, and the block is never cut, so that a token stands for all of it.
 * Of small events it takes a sixth less of ClickHouse's CPU than RowBinary, and a quarter less than JSONEachRow.
 * Source: https://clickhouse.com/docs/interfaces/formats/Native
 */
import type { RowStructure } from '../inserts.ts';
import type { BatchRows } from './batch-rows.ts';
import { type Int64Column, RowBinary, type TextColumn } from './native-columns.ts';

/** Kind of a LowCardinality column: one dictionary for the block, in front of its one-byte keys. */
const sharedDictionaries = 1;
const ownDictionary = 2 ** 9;
/** Kind of a JSON column: each value as its text. */
const textKind = new RowBinary().int64(1).build();

const escapeBytes = 6;
const backslash = 0x5c;
/** How an escape of a surrogate begins; the third digit is 8 to F. */
const beginnings = ['\\ud', '\\uD'];
/** Escape of U+FFFD, which is as long. */
const replacement = '\\ufffd';

/** A body, and the columns of `events` that it fills. */
export interface NativeBlock {
  readonly columns: readonly string[];
  readonly body: Buffer;
}

/** One column of a block. */
interface NativeColumn {
  readonly name: string;
  readonly type: string;
  readonly pieces: readonly Buffer[];
}

/**
 * Encodes the rows at these positions, ascending. Without any id the column of ids is left out; where one row has none
 * it is NULL, and the default of the column takes its place. In `data`, lone surrogates are U+FFFD. Of another type than
 * the table has it, `data` is cast.
 */
export function encodeNative(
  rows: BatchRows,
  indexes: readonly number[],
  { dataType, withRaw }: Pick<RowStructure, 'dataType' | 'withRaw'>,
): NativeBlock {
  const { topic, topicId, partition } = rows.identity;
  const count = indexes.length;
  const runs = runsOf(indexes);
  const pick = (column: Int64Column | TextColumn) => runs.map(([from, to]) => column.slice(from, to));
  const columns: NativeColumn[] = [
    { name: 'received_at', type: "DateTime64(3, 'UTC')", pieces: pick(rows.receivedAt) },
    { name: 'topic', type: 'LowCardinality(String)', pieces: [sameText(topic, count)] },
    { name: 'topic_id', type: 'LowCardinality(String)', pieces: [sameText(topicId, count)] },
    { name: 'partition', type: 'UInt32', pieces: [sameNumber(partition, count)] },
    { name: 'offset', type: 'UInt64', pieces: pick(rows.offsets) },
  ];
  const { ids } = rows;
  if (ids !== undefined) {
    const isNull = Buffer.from(indexes.map((index) => (ids.isEmpty(index) ? 1 : 0)));
    columns.push({ name: 'event_id', type: 'Nullable(String)', pieces: [isNull, ...pick(ids)] });
  }
  const values = pick(rows.values);
  columns.push({ name: 'data', type: dataType, pieces: [textKind, ...values.map(withoutLoneSurrogates)] });
  if (withRaw) columns.push({ name: 'raw', type: 'String', pieces: values });
  const pieces = columns.flatMap(({ name, type, pieces: own }) => [
    new RowBinary().text(name).text(type).build(),
    ...own,
  ]);
  const head = new RowBinary().length(columns.length).length(count).build();
  return { columns: columns.map(({ name }) => name), body: Buffer.concat([head, ...pieces]) };
}

/** Stretches of positions that lie next to each other: from, and to before. */
function runsOf(indexes: readonly number[]): [from: number, to: number][] {
  const runs: [number, number][] = [];
  for (let i = 0; i < indexes.length; ) {
    const from = indexes[i] as number;
    let to = from + 1;
    for (i++; i < indexes.length && indexes[i] === to; i++) to++;
    runs.push([from, to]);
  }
  return runs;
}

/** A column of LowCardinality(String) with one value: its dictionary, and a zero for each row. */
function sameText(value: string, count: number): Buffer {
  const head = new RowBinary()
    .int64(sharedDictionaries)
    .int64(ownDictionary)
    .int64(1)
    .text(value)
    .int64(count);
  return Buffer.concat([head.build(), Buffer.alloc(count)]);
}

/** A column of UInt32 with one value. */
function sameNumber(value: number, count: number): Buffer {
  return Buffer.alloc(4 * count, new RowBinary().uint32(value).build());
}

/**
 * JSON texts, however many and whatever lies between them, with U+FFFD for each lone surrogate; a copy if there is one.
 * Halves of surrogate pairs in JSON text: what `JSON.stringify` makes of a text that was cut within an emoji. JSON lets
 * an escape stand for one (RFC 8259, section 8.2), but no UTF-8 can hold it, and ClickHouse refuses the whole event.
 */
export function withoutLoneSurrogates(text: Buffer): Buffer {
  let mended: Buffer | undefined;
  for (const beginning of beginnings) {
    for (let at = text.indexOf(beginning, 0, 'latin1'); at !== -1; ) {
      if (isLone(text, at)) {
        mended ??= Buffer.from(text);
        mended.write(replacement, at, 'latin1');
      }
      at = text.indexOf(beginning, at + beginning.length, 'latin1');
    }
  }
  return mended ?? text;
}

function isLone(text: Buffer, at: number): boolean {
  const unit = unitAt(text, at);
  if (isHigh(unit)) return !isLow(unitAt(text, at + escapeBytes));
  return isLow(unit) && !isHigh(unitAt(text, at - escapeBytes));
}

/** The code unit whose escape begins here; undefined when none does. */
function unitAt(text: Buffer, at: number): number | undefined {
  const digits = text.toString('latin1', Math.max(0, at), Math.max(0, at + escapeBytes));
  if (!/^\\u[0-9a-f]{4}$/i.test(digits)) return undefined;
  // Behind an odd number of backslashes, this one is escaped itself.
  let before = at;
  while (text[before - 1] === backslash) before--;
  return (at - before) % 2 === 0 ? Number.parseInt(digits.slice(2), 16) : undefined;
}

function isHigh(unit: number | undefined): boolean {
  return unit !== undefined && unit >= 0xd800 && unit < 0xdc00;
}

function isLow(unit: number | undefined): boolean {
  return unit !== undefined && unit >= 0xdc00 && unit < 0xe000;
}
