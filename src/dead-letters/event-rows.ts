/** Dead letters as rows of `events`, and which of them ClickHouse would still refuse. */
import type { RowStructure } from '../clickhouse/inserts.ts';
import { BatchRows } from '../clickhouse/rows/batch-rows.ts';
import { type DeadLetter, type Refusal, unreadableCode } from '../clickhouse/rows/dead-letter.ts';
import { encodeNative, type NativeBlock } from '../clickhouse/rows/native-block.ts';
import { findRefusedRows, type RowProbe } from '../clickhouse/rows/refused-rows.ts';

/** A dead letter that ClickHouse refuses again. */
interface RefusedLetter {
  readonly letter: DeadLetter;
  readonly error: Refusal;
}

/** Dead letters of one partition as rows of a batch. */
function rowsOf(letters: readonly DeadLetter[]): BatchRows {
  const { topic = '', topicId = '', partition = 0 } = letters[0] ?? {};
  const rows = new BatchRows({ topic, topicId, partition });
  for (const { offset, receivedAt, eventId, raw } of letters) {
    const block = {
      count: 1,
      bytes: raw,
      starts: [0],
      ends: [raw.length],
      offsets: [offset],
      receivedAt: [receivedAt],
    };
    rows.add(block, 0, eventId === '' ? undefined : eventId);
  }
  return rows;
}

/** Dead letters of one partition as the body of an insert, as the streamer would have made it. */
export function encodeEvents(letters: readonly DeadLetter[], structure: RowStructure): NativeBlock {
  return encodeNative(rowsOf(letters), [...letters.keys()], structure);
}

/** Finds those that are refused now. They are of one partition. What could not be read is no event, and is not tried. */
export async function findRefusedLetters(
  letters: readonly DeadLetter[],
  probe: RowProbe,
): Promise<RefusedLetter[]> {
  if (letters.length === 0) return [];
  const refused: RefusedLetter[] = [];
  const tried: number[] = [];
  for (const [index, letter] of letters.entries()) {
    const { code, reason } = letter;
    if (code === unreadableCode) refused.push({ letter, error: { code, message: reason, detail: reason } });
    else tried.push(index);
  }
  if (tried.length === 0) return refused;
  const found = await findRefusedRows(rowsOf(letters), tried, probe);
  return [...refused, ...found.map(({ index, error }) => ({ letter: letters[index] as DeadLetter, error }))];
}
