/** Dead letters as rows of `events`, and which of them ClickHouse would still refuse. */

import type { ClickHouseError } from '../clickhouse/client.ts';
import { findRefusedRows, type RowProbe } from '../streamer/refused-rows.ts';
import { RowWriter } from '../streamer/row-writer.ts';
import type { DeadLetter } from './dead-letter.ts';

/** A dead letter that ClickHouse refuses again. */
export interface RefusedLetter {
  readonly letter: DeadLetter;
  readonly error: ClickHouseError;
}

/** The rows of dead letters of one partition, as the streamer would have inserted them. */
export function encodeEvents(letters: readonly DeadLetter[]): Buffer {
  return writeEvents(letters).body;
}

/** Finds those that are refused now. They are of one partition. */
export async function findRefusedLetters(
  letters: readonly DeadLetter[],
  probe: RowProbe,
): Promise<RefusedLetter[]> {
  if (letters.length === 0) return [];
  const { body, ends } = writeEvents(letters);
  const plan = { start: 0, end: 0, rows: ends.length, crc: 0, repeatsCrc: 0, token: '', sealedAt: 0 };
  const batch = { plan, body, ends, repeats: [], idsBefore: undefined, oldestAt: 0 };
  const refused = await findRefusedRows(batch, [...ends.keys()], probe);
  return refused.map(({ index, error }) => ({ letter: letters[index] as DeadLetter, error }));
}

function writeEvents(letters: readonly DeadLetter[]): RowWriter {
  const { topic = '', topicId = '', partition = 0 } = letters[0] ?? {};
  const writer = new RowWriter({ topic, topicId, partition });
  for (const { offset, receivedAt, eventId, raw } of letters) {
    const block = {
      count: 1,
      bytes: raw,
      starts: [0],
      ends: [raw.length],
      offsets: [offset],
      receivedAt: [receivedAt],
    };
    writer.write(block, 0, eventId === '' ? undefined : eventId);
  }
  return writer;
}
