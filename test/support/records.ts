import type { RecordBlock } from '../../src/buffer/records.ts';

/** A block of records with these values, from `offset` on. */
export function blockOf(
  values: readonly (string | Uint8Array)[],
  offset = 0,
  receivedAt = 1_763_690_000_123,
): RecordBlock {
  const buffers = values.map((value) => Buffer.from(value));
  const ends: number[] = [];
  for (const { length } of buffers) ends.push((ends.at(-1) ?? 0) + length);
  return {
    count: values.length,
    bytes: Buffer.concat(buffers),
    starts: [0, ...ends.slice(0, -1)],
    ends,
    offsets: values.map((_, index) => offset + index),
    receivedAt: values.map((_, index) => receivedAt + index),
  };
}
