/** The records of a batch, column by column: each record's own bytes, put beside each other, never parsed. */
import { crc32 } from 'node:zlib';
import type { PartitionIdentity } from '../../buffer/buffer.ts';
import { idAmong, type RecordBlock } from '../../buffer/records.ts';
import { Int64Column, TextColumn } from './native-columns.ts';

/** Bytes of a row beside its texts, once it is sent: two numbers, topic, topic id and partition. */
const fixedBytes = 22;

/** One record of a batch. */
interface BatchRecord {
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** Id from the record's headers, else empty. */
  readonly eventId: string;
  /** The record's value, byte for byte: a view, valid as long as the rows are. */
  readonly raw: Buffer;
}

/** Rows of one partition; can be filled again. */
export class BatchRows {
  readonly identity: PartitionIdentity;
  readonly receivedAt = new Int64Column();
  readonly offsets = new Int64Column();
  readonly values = new TextColumn();
  /** Ids, empty where there is none; undefined while no record has any. */
  ids: TextColumn | undefined;

  constructor(identity: PartitionIdentity) {
    this.identity = identity;
  }

  /** Number of rows. */
  get count(): number {
    return this.values.count;
  }

  /** About the bytes that an insert of all rows takes. */
  get byteLength(): number {
    return this.values.length + (this.ids?.length ?? 0) + fixedBytes * this.count;
  }

  /** Appends record `index` of a block; `id` is the id in its headers, which is not empty. */
  add(block: RecordBlock, index: number, id?: string): void {
    if (id !== undefined) this.ids ??= emptyTexts(this.count);
    this.receivedAt.add(block.receivedAt[index] as number);
    this.offsets.add(block.offsets[index] as number);
    this.values.add(block.bytes, block.starts[index] as number, block.ends[index] as number);
    this.ids?.addText(id ?? '');
  }

  /** The record of row `index`. */
  record(index: number): BatchRecord {
    return {
      offset: this.offsets.get(index),
      receivedAt: this.receivedAt.get(index),
      eventId: this.ids?.get(index).toString() ?? '',
      raw: this.values.get(index),
    };
  }

  /** CRC-32 of all rows. */
  crc(): number {
    const { count } = this;
    const columns = [
      this.receivedAt,
      this.offsets,
      this.values,
      ...(this.ids === undefined ? [] : [this.ids]),
    ];
    return columns.reduce((crc, column) => crc32(column.slice(0, count), crc), 0);
  }

  /** Empties them and keeps their memory. */
  clear(): void {
    for (const column of [this.receivedAt, this.offsets, this.values]) column.clear();
    this.ids = undefined;
  }
}

function emptyTexts(count: number): TextColumn {
  const texts = new TextColumn();
  for (let i = 0; i < count; i++) texts.addText('');
  return texts;
}

/**
 * The id of record `index`; undefined when it has none. A header of another producer may hold no text: what is
 * left of it is the same for events that are not, so it counts as none, and so does an empty one.
 */
export function idOf({ headers }: RecordBlock, index: number): string | undefined {
  const id = idAmong(headers?.[index] ?? []);
  return id === undefined || id === '' || id.includes('\ufffd') ? undefined : id;
}
