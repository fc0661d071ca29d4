/**
 * The plan of one chunk: written down in the spool before anything of the chunk is sent. Whoever drains next
 * reads it, makes the same batches of the same records, and sends them under the same tickets.
 */
import { z } from 'zod';
import { InvariantError } from '../errors.ts';
import type { Routing } from './chunk.ts';

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
      `the plan in the spool is not of this version: ${text.slice(0, 200)}. Drain the spool with the release that wrote it`,
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
