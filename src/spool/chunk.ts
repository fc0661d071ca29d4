/**
 * Cuts the spool into chunks, and routes the records of a chunk to partitions. A function of the records and
 * the routing alone: after a crash it must give the same batches again.
 *
 * The plan of one chunk: written down in the spool before anything of the chunk is sent. Whoever drains next
 * reads it, makes the same batches of the same records, and sends them under the same tickets.
 */

import { z } from 'zod';
import {
  EventBatch,
  headersBytes,
  idAmong,
  idHeader,
  partitionOf,
  type RecordBlock,
  type RecordHeaders,
} from '../buffer/records.ts';
import { InvariantError } from '../errors.ts';

/** How records find their partition. */
export interface Routing {
  /** Partitions of the buffer. */
  readonly partitions: number;
  /** Partition that records without an id go to; when its batch is full, the next one in turn. */
  readonly first: number;
  /** Most bytes of one batch: values, headers, and what a record takes beside them. One record may be larger. */
  readonly batchBytes: number;
}

/** Records on their way from the spool into the buffer. */
export interface Chunk {
  /** Offset after the last record. */
  readonly end: number;
  /** By partition, in ascending order. */
  readonly batches: ReadonlyMap<number, EventBatch>;
}

/** Most batches of a chunk: what is in memory at once, and in flight. */
const maxBatches = 64;
/** Beside value and headers a record takes at most about this much in the buffer. */
const recordOverhead = 40;

/** Id of a record that came without one: by it its event can be found, wherever it is stored in the end. */
export function spoolEventId(spoolId: string, offset: number): string {
  return `spool/${spoolId}/${offset}`;
}

/** Gathers records, block by block, until a batch is full or the end given is reached. */
export class ChunkBuilder {
  readonly #routing: Routing;
  readonly #spoolId: string;
  readonly #end: number;
  readonly #batches = new Map<number, { batch: EventBatch; bytes: number }>();
  #current: number;
  #position: number;
  #isFull = false;

  /** A chunk of the records from `start` on, and before `end` when that is known already. */
  constructor(spoolId: string, routing: Routing, range: { start: number; end?: number }) {
    this.#routing = routing;
    this.#spoolId = spoolId;
    this.#end = range.end ?? Number.POSITIVE_INFINITY;
    this.#current = routing.first;
    this.#position = range.start;
  }

  /** Whether it takes no more. */
  get isFull(): boolean {
    return this.#isFull || this.#position >= this.#end;
  }

  /** Offset of the record that it takes next. */
  get position(): number {
    return this.#position;
  }

  /** Takes the records of a block that follows the ones before, or as many as fit. */
  add(block: RecordBlock): void {
    for (let i = 0; i < block.count && !this.isFull; i++) {
      const offset = block.offsets[i] as number;
      if (offset >= this.#end) return;
      this.#take(block, i, offset);
    }
  }

  /** The chunk of all records taken; undefined when there are none. */
  build(): Chunk | undefined {
    if (this.#batches.size === 0) return undefined;
    const sorted = [...this.#batches].sort(([a], [b]) => a - b);
    return {
      end: this.#position,
      batches: new Map(sorted.map(([partition, { batch }]) => [partition, batch])),
    };
  }

  #take(block: RecordBlock, index: number, offset: number): void {
    const value = block.bytes.subarray(block.starts[index], block.ends[index]);
    const ownHeaders = block.headers?.[index] ?? [];
    const id = idAmong(ownHeaders);
    const headers: RecordHeaders =
      id === undefined ? [...ownHeaders, [idHeader, spoolEventId(this.#spoolId, offset)]] : ownHeaders;
    const bytes = value.length + headersBytes(headers) + recordOverhead;
    const partition =
      id === undefined ? this.#partitionInTurn(bytes) : partitionOf(id, this.#routing.partitions);
    if (partition === undefined || !this.#hasRoom(partition, bytes)) {
      this.#isFull = true;
      return;
    }
    const open = this.#batches.get(partition) ?? { batch: new EventBatch(), bytes: 0 };
    this.#batches.set(partition, open);
    open.batch.add(value, block.receivedAt[index] as number, headers);
    open.bytes += bytes;
    this.#position = offset + 1;
  }

  #hasRoom(partition: number, bytes: number): boolean {
    const open = this.#batches.get(partition);
    if (open === undefined) return this.#batches.size < maxBatches;
    return open.bytes + bytes <= this.#routing.batchBytes;
  }

  /** The partition that records without an id go to now; undefined when the turn is over. */
  #partitionInTurn(bytes: number): number | undefined {
    const { partitions, first } = this.#routing;
    while (!this.#hasRoom(this.#current, bytes)) {
      const next = (this.#current + 1) % partitions;
      if (next === first) return undefined;
      this.#current = next;
    }
    return this.#current;
  }
}

/** Version of the plan and of the way records are routed. */
const planVersion = 1;

/** A batch of the chunk, and the ticket that it is sent under. */
export interface PlannedBatch {
  readonly partition: number;
  /** Records of the batch. */
  readonly count: number;
  readonly ticket: string;
}

/** What is about to be sent: the records of the spool from the committed offset to `end`. */
export interface ChunkPlan {
  /** Position after the last record. */
  readonly end: number;
  /** How records find their partition. */
  readonly routing: Routing;
  /** In ascending order of partitions. */
  readonly batches: readonly PlannedBatch[];
  /** When it was made, milliseconds since the epoch. */
  readonly madeAt: number;
}

const planSchema = z.object({
  v: z.literal(planVersion),
  end: z.int().min(1),
  partitions: z.int().min(1),
  first: z.int().min(0),
  bytes: z.int().min(1),
  batches: z.array(z.tuple([z.int().min(0), z.int().min(1), z.string().min(1)])).min(1),
  at: z.int(),
});

/** Writes a plan as text. */
export function encodeChunkPlan({ end, routing, batches, madeAt }: ChunkPlan): string {
  return JSON.stringify({
    v: planVersion,
    end,
    partitions: routing.partitions,
    first: routing.first,
    bytes: routing.batchBytes,
    batches: batches.map(({ partition, count, ticket }) => [partition, count, ticket]),
    at: madeAt,
  });
}

/**
 * Reads a plan; undefined when there is none.
 * @throws InvariantError when it is none of this version
 */
export function decodeChunkPlan(text: string): ChunkPlan | undefined {
  if (text === '') return undefined;
  const parsed = planSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new InvariantError(
      `the plan in the spool is from another version: ${text.slice(0, 200)}. Drain the spool with the release that wrote it`,
    );
  }
  const { end, partitions, first, bytes, batches, at: madeAt } = parsed.data;
  return {
    end,
    routing: { partitions, first, batchBytes: bytes },
    batches: batches.map(([partition, count, ticket]) => ({ partition, count, ticket })),
    madeAt,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
