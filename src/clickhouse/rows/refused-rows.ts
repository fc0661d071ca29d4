/** Finds the rows that ClickHouse refuses. */
import { FencedError, type PartitionIdentity } from '../../buffer/buffer.ts';
import { type ClickHouse, quoteText } from '../client.ts';
import { ClickHouseError } from '../errors.ts';
import { insertSettings, type RowStructure } from '../inserts.ts';
import { BatchRows } from './batch-rows.ts';
import type { Refusal } from './dead-letter.ts';
import { encodeNative, withoutLoneSurrogates } from './native-block.ts';
import { RowBinary } from './native-columns.ts';

/** A row of a batch that is for the dead letters: ClickHouse refuses it by itself, or it cannot be read. */
export interface RefusedRow {
  /** Position in the batch. */
  readonly index: number;
  readonly error: Refusal;
}

/**
 * ClickHouse's codes for data that it cannot read or convert. Any other error is about the server or the
 * table, and trying again can help; blaming a row for it would lose the row.
 * Source: src/Common/ErrorCodes.cpp of ClickHouse.
 */
const dataErrorCodes = new Set([
  6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 128, 130, 131, 165, 306, 349, 376, 407, 469, 675, 676,
]);
const emptyEvent = Buffer.from('{}');
/** INCORRECT_DATA. */
const incorrectData = 117;

/** Suspects that get a dry run of their own, for their own reason: 4 ms each. */
const maxOwnReasons = 100;
/** Bytes of values in one cast statement; it carries them as hexadecimal text. */
const castBytes = 512 * 1024;
/** Position of what is put between two values. */
const betweenValues = 2 ** 32 - 1;

/** Whether an error is about the rows. */
export function isDataError({ code }: ClickHouseError): boolean {
  return dataErrorCodes.has(code);
}

/** How rows are tried without storing them. */
export interface RowProbe {
  /** The error when one of these rows is refused; positions are ascending. */
  dryRun(rows: BatchRows, indexes: readonly number[]): Promise<ClickHouseError | undefined>;
  /**
   * Positions of values that cannot be read as `data`, all at one go; it may name too many, and may know only
   * of this reason to refuse a row. Undefined when ClickHouse cannot tell.
   */
  findUnreadable(values: readonly Buffer[]): Promise<number[] | undefined>;
}

/**
 * Finds all refused rows among these. One statement tells which values cannot be read, so a batch full of them
 * costs 17 µs each and not a dry run each, which would let a few hundred bad events a second hold up all
 * others. What that does not explain is found by halving; so is everything that it named, once it named a row
 * that is not refused.
 */
export async function findRefusedRows(
  rows: BatchRows,
  indexes: readonly number[],
  probe: RowProbe,
): Promise<RefusedRow[]> {
  const values = indexes.map((index) => rows.record(index).raw);
  const unreadable = (await probe.findUnreadable(values)) ?? [];
  const suspects = unreadable.map((position) => indexes[position] as number);
  const tried = suspects.slice(0, maxOwnReasons);
  const refused: RefusedRow[] = [];
  for (const index of tried) {
    const error = await probe.dryRun(rows, [index]);
    if (error !== undefined) refused.push({ index, error });
  }
  if (refused.length === tried.length) {
    const reason = `the value cannot be read as a JSON object of the table's type; of ${suspects.length} such rows in one insert the first ${maxOwnReasons} have their own reason`;
    for (const index of suspects.slice(maxOwnReasons)) {
      refused.push({ index, error: new ClickHouseError(incorrectData, reason) });
    }
  }
  const isRefused = new Set(refused.map(({ index }) => index));
  const others = indexes.filter((index) => !isRefused.has(index));
  refused.push(...(await halve(rows, others, probe)));
  return refused.sort((a, b) => a.index - b.index);
}

/**
 * Whether even an empty event is refused: then the error is about how rows are sent, or about the table, and blaming
 * the rows would make dead letters of good events.
 */
export async function refusesAllRows(identity: PartitionIdentity, probe: RowProbe): Promise<boolean> {
  const rows = new BatchRows(identity);
  rows.add({ count: 1, bytes: emptyEvent, starts: [0], ends: [2], offsets: [0], receivedAt: [0] }, 0);
  return (await probe.dryRun(rows, [0])) !== undefined;
}

/** Finds refused rows by dry runs of ever smaller parts; one dry run when there is none. */
async function halve(rows: BatchRows, indexes: readonly number[], probe: RowProbe): Promise<RefusedRow[]> {
  if (indexes.length === 0) return [];
  const error = await probe.dryRun(rows, indexes);
  if (error === undefined) return [];
  if (indexes.length === 1) return [{ index: indexes[0] as number, error }];
  const middle = indexes.length >> 1;
  const first = await halve(rows, indexes.slice(0, middle), probe);
  return [...first, ...(await halve(rows, indexes.slice(middle), probe))];
}

/**
 * Makes the probe for tables of a structure: rows are tried with these settings, by default those of the streamer. Its
 * calls throw FencedError once `signal` has aborted.
 */
export function createRowProbe(
  clickhouse: ClickHouse,
  { columns: structure, dataType }: RowStructure,
  { signal, settings = insertSettings }: { signal?: AbortSignal; settings?: typeof insertSettings },
): RowProbe {
  const check = (): void => {
    if (signal?.aborted === true) throw new FencedError('ownership ended during the search for refused rows');
  };
  const dryRun = async (
    rows: BatchRows,
    indexes: readonly number[],
  ): Promise<ClickHouseError | undefined> => {
    check();
    const { columns, body } = encodeNative(rows, indexes, { dataType, withRaw: false });
    const sql = `INSERT INTO FUNCTION null(${structure}) (${columns.join(', ')}) FORMAT Native`;
    try {
      await clickhouse.insert(sql, body, { settings });
      return undefined;
    } catch (error) {
      if (error instanceof ClickHouseError && isDataError(error)) return error;
      throw error;
    }
  };
  const findUnreadable = async (values: readonly Buffer[]): Promise<number[] | undefined> => {
    const found: number[] = [];
    for (let from = 0; from < values.length; ) {
      check();
      const { rows, next } = encodeValues(values, from);
      const inRows = await castAll(clickhouse, rows, { dataType, settings });
      if (inRows === undefined) return undefined;
      found.push(...inRows);
      from = next;
    }
    return found;
  };
  return { dryRun, findUnreadable };
}

/**
 * As many values as fit one statement, with their positions. Where the cast meets some errors (a number beyond
 * DateTime64, for one) it makes NULL of the next value, too (seen on 26.7): so none of ours is the next one.
 */
function encodeValues(values: readonly Buffer[], from: number): { rows: Buffer; next: number } {
  const rows = new RowBinary();
  let bytes = 0;
  let next = from;
  for (; next < values.length && (next === from || bytes < castBytes); next++) {
    const value = withoutLoneSurrogates(values[next] as Buffer);
    bytes += value.length;
    rows.uint32(next).text(value).uint32(betweenValues).text('{}');
  }
  return { rows: rows.build(), next };
}

/** Undefined when this server cannot do it: versions before 25.2 have no Nullable(JSON). */
async function castAll(
  clickhouse: ClickHouse,
  rows: Buffer,
  { dataType, settings }: { dataType: string; settings: typeof insertSettings },
): Promise<number[] | undefined> {
  const type = quoteText(`Nullable(${dataType})`);
  const source = `format(RowBinary, 'i UInt32, value String', unhex('${rows.toString('hex')}'))`;
  // An insert takes `null` as an object without properties; the cast makes it NULL, as it does what it cannot read.
  const isNull = `match(value, '^[ \\\\t\\\\r\\\\n]*null[ \\\\t\\\\r\\\\n]*$')`;
  const sql = `SELECT i FROM ${source} WHERE isNull(accurateCastOrNull(value, ${type})) AND NOT ${isNull}`;
  const skip = settings.type_json_skip_duplicated_paths ?? 0;
  const forCast = {
    max_query_size: 64 * 1024 * 1024,
    date_time_input_format: 'best_effort',
    type_json_skip_duplicated_paths: skip,
  };
  try {
    const named = await clickhouse.query<{ i: number }>(sql, { settings: forCast });
    return named.map(({ i }) => i).filter((i) => i !== betweenValues);
  } catch (error) {
    if (error instanceof ClickHouseError) return undefined;
    throw error;
  }
}
