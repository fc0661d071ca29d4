/** Where an event with an id goes: the one rule, for everything that writes to a buffer. */
import { crc32 } from 'node:zlib';
import { idHeader, type RecordHeaders } from './record-block.ts';

/**
 * Partition of the event with this id, so that all repeats of it meet in one: crc32 of its UTF-8, modulo the
 * number of partitions, which must not be 0. Another number of partitions gives other places.
 */
export function partitionOf(id: string, partitions: number): number {
  return crc32(id) % partitions;
}

/** The id among the headers of a record; undefined when it has none. */
export function idAmong(headers: RecordHeaders): string | undefined {
  for (const [key, value] of headers) if (key === idHeader) return value;
  return undefined;
}
