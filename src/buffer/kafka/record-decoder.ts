/**
 * Reads the record batches of a fetch into blocks, column by column.
 *
 * What is read in place of a record batch that cannot be read, so that each of its offsets is accounted for.
 */
import { crc32c } from '@platformatic/kafka';
import type { ReadResult } from '../buffer.ts';
import { appendRecords, type BatchRange, RecordColumns } from './batch-records.ts';
import {
  batchAttributes,
  batchLayout,
  ChecksumError,
  currentMagic,
  lengthEnd,
  readInt64,
  UnreadableBatchError,
} from './record-batch.ts';

/** Bytes of a batch up to the number of its format: less is no batch. */
const headEnd = batchLayout.magic + 1;

/** A transaction that was rolled back: what its producer wrote from `firstOffset` on is not to be read. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

/**
 * Record batches as one fetch returned them. They are decoded as they are taken, so that one large fetch of
 * well compressed records does not become one huge piece of memory.
 */
export class FetchedBatches {
  readonly #bytes: Buffer;
  /** Rolled back transactions whose begin was not reached yet, by first offset. */
  readonly #aborted: AbortedTransaction[];
  readonly #abortedProducers = new Set<bigint>();
  /** Base offset of a batch whose checksum was wrong in an earlier answer. */
  readonly #suspect: number | undefined;
  #position = 0;

  /** `suspect`: {@link ChecksumError.baseOffset} of an earlier answer. */
  constructor(bytes: Buffer, aborted: readonly AbortedTransaction[] = [], suspect?: number) {
    this.#bytes = bytes;
    this.#suspect = suspect;
    this.#aborted = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  /** Whether no whole batch is left. A batch that the fetch cut off at its end does not count. */
  get isEmpty(): boolean {
    const { length } = this.#bytes;
    if (this.#position + headEnd > length) return true;
    return this.#position + lengthEnd + this.#bytes.readInt32BE(this.#position + batchLayout.length) > length;
  }

  /**
   * Decodes batches into one block until it holds `maxBytes`, at least one batch if there is any. Records before
   * `from` are left out, as are transaction markers and rolled back records; `next` is past all of them.
   * A record without a value (null) comes as an empty value, so that its offset is accounted for; so are the offsets of
   * a batch that cannot be read ({@link RecordBlock.unreadable}). What stands where no batch can be is dropped, with
   * what follows it: `next` is `from` when nothing was before it.
   * @throws NotReadableHereError when the next batch can be read by another installation only; it stays the next one
   * @throws ChecksumError when the checksum of the next batch is wrong, and was not in an earlier answer: fetch again
   */
  take(from: number, maxBytes: number): ReadResult {
    const columns = new RecordColumns();
    let next = from;
    while (columns.length < maxBytes && !this.isEmpty) {
      const begin = this.#position;
      const length = lengthEnd + this.#bytes.readInt32BE(begin + batchLayout.length);
      const batch = this.#bytes.subarray(begin, begin + Math.max(length, 0));
      const range = rangeOf(batch, from);
      if (range === undefined || (next > from && range.baseOffset < next)) {
        this.#position = this.#bytes.length;
        break;
      }
      this.#position += batch.length;
      const { length: lengthBefore, count: countBefore } = columns;
      try {
        verifyBatch(batch, range.baseOffset);
        if (!this.#isSkipped(batch, range.baseOffset) && range.lastOffset >= from)
          appendRecords(batch, range, columns);
      } catch (error) {
        columns.truncate(lengthBefore, countBefore);
        const isFirstLook = error instanceof ChecksumError && error.baseOffset !== this.#suspect;
        if (!(error instanceof UnreadableBatchError) || isFirstLook) {
          this.#position = begin;
          // What was read before it comes first.
          if (columns.count > 0) break;
          throw error;
        }
        if (range.lastOffset >= from) appendStandIns(batch, range, columns, error);
      }
      next = Math.max(next, range.lastOffset + 1);
    }
    return { blocks: columns.count === 0 ? [] : [columns.build()], next };
  }

  /** Markers hold no events, and neither do transactions that were rolled back. */
  #isSkipped(batch: Buffer, baseOffset: number): boolean {
    const attributes = batch.readInt16BE(batchLayout.attributes);
    if ((attributes & batchAttributes.transactional) === 0)
      return (attributes & batchAttributes.control) !== 0;
    for (
      let first = this.#aborted[0];
      first !== undefined && first.firstOffset <= baseOffset;
      first = this.#aborted[0]
    ) {
      this.#abortedProducers.add(first.producerId);
      this.#aborted.shift();
    }
    const producerId = batch.readBigInt64BE(batchLayout.producerId);
    if ((attributes & batchAttributes.control) === 0) return this.#abortedProducers.has(producerId);
    // Either marker ends the producer's transaction; only a rolled back one is in the set.
    this.#abortedProducers.delete(producerId);
    return true;
  }
}

/** Timestamp of the first record of the first batch, milliseconds since the epoch; undefined when there is none. */
export function firstTimestamp(bytes: Buffer): number | undefined {
  if (bytes.length < batchLayout.records || bytes.readInt8(batchLayout.magic) !== currentMagic)
    return undefined;
  const appendTime = (bytes.readInt16BE(batchLayout.attributes) & batchAttributes.logAppendTime) !== 0;
  return readInt64(bytes, appendTime ? batchLayout.maxTimestamp : batchLayout.baseTimestamp);
}

/** The offsets of a batch; undefined when no batch begins there. */
function rangeOf(batch: Buffer, from: number): BatchRange | undefined {
  if (batch.length < headEnd) return undefined;
  const baseOffset = readInt64(batch, batchLayout.baseOffset);
  const isCurrent = batch.readInt8(batchLayout.magic) === currentMagic;
  if (isCurrent && batch.length < batchLayout.records) return undefined;
  const lastOffset = baseOffset + Math.max(isCurrent ? batch.readInt32BE(batchLayout.lastOffsetDelta) : 0, 0);
  if (baseOffset < 0 || !Number.isSafeInteger(lastOffset + 1)) return undefined;
  return { baseOffset, lastOffset, from };
}

function verifyBatch(batch: Buffer, baseOffset: number): void {
  const magic = batch.readInt8(batchLayout.magic);
  if (magic !== currentMagic) {
    const message = `it has message format ${magic}, which only Kafka before 0.11 wrote`;
    throw new UnreadableBatchError('BATCH_UNSUPPORTED', message);
  }
  const crc = crc32c(batch.subarray(batchLayout.attributes)) >>> 0;
  if (crc !== batch.readUInt32BE(batchLayout.crc)) throw new ChecksumError(baseOffset);
}

/** Most records that stand in for one batch: a larger count is not believed. */
const maxStandIns = 100_000;
/** Bytes of the batch that are kept: all of one that Kafka takes by default (`max.message.bytes`). */
const maxKeptBytes = 1024 * 1024;
/** Times from then on are none: the year 2100, in milliseconds since the epoch. */
const endOfTime = 4_102_444_800_000;

/**
 * Appends one record for each offset from `from` on, or, when the batch does not say plausibly how many it has, a
 * single one at its last offset. The last carries the batch as it is stored, cut off at 1 MiB; the others are empty. A
 * function of the batch alone: whoever reads it again, from whichever offset, finds the same.
 */
function appendStandIns(
  batch: Buffer,
  { baseOffset, lastOffset, from }: BatchRange,
  columns: RecordColumns,
  { code, message }: UnreadableBatchError,
): void {
  const isCurrent = batch.readInt8(batchLayout.magic) === currentMagic;
  const total = isCurrent ? batch.readInt32BE(batchLayout.count) : 1;
  const each = total === lastOffset - baseOffset + 1 && total <= maxStandIns;
  const maxTimestamp = isCurrent ? readInt64(batch, batchLayout.maxTimestamp) : 0;
  const receivedAt = maxTimestamp > 0 && maxTimestamp < endOfTime ? maxTimestamp : 0;
  const kept = batch.subarray(0, maxKeptBytes);
  const reason = `${code}: the record batch of offsets ${baseOffset} to ${lastOffset}, ${batch.length} bytes as stored, cannot be read: ${message}`;
  for (let offset = each ? Math.max(baseOffset, from) : lastOffset; offset <= lastOffset; offset++) {
    const value = offset === lastOffset ? kept : kept.subarray(0, 0);
    columns.addUnreadable(offset, receivedAt, { value, reason });
  }
}
