/**
 * The plan of one insert, committed in the buffer before the insert begins. Whoever owns the partition next
 * reads it and inserts the same rows with the same token, so the repeat is dropped.
 */
import { z } from 'zod';
import { assertInvariant, InvariantError } from '../errors.ts';

/** Kafka's default limit for commit metadata (`offset.metadata.max.bytes`). */
const maxPlanBytes = 4_096;

/** Version of the plan and of the row encoding that its crc was taken over. */
export const planVersion = 1;

/** What is about to be inserted: the records of one partition with start <= offset < end. */
export interface Plan {
  /** Position of the first record; equals the end of the plan before it. */
  readonly start: number;
  /** Position after the last record. */
  readonly end: number;
  readonly rows: number;
  /** CRC-32 of the rows as they are sent. */
  readonly crc: number;
  /** Deduplication token; stored, never computed again. */
  readonly token: string;
  /** When it was sealed, milliseconds since the epoch. */
  readonly sealedAt: number;
}

const planSchema = z.object({
  v: z.literal(planVersion),
  start: z.int().min(0),
  end: z.int().min(0),
  rows: z.int().min(1),
  crc: z.int().min(0),
  token: z.string().min(1),
  at: z.int(),
});

/** Identity of a partition: the id tells a topic from a later one of the same name. */
export interface PartitionIdentity {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
}

/** The token of a range: one token, one range, for ever. */
export function tokenOf(
  { topic, topicId, partition }: PartitionIdentity,
  start: number,
  end: number,
): string {
  return `${topic}:${topicId}:${partition}:${start}:${end}`;
}

/** Writes a plan as commit metadata. */
export function encodePlan(plan: Plan): string {
  assertInvariant(plan.end > plan.start, `a plan must end after it starts: ${plan.start} to ${plan.end}`);
  assertInvariant(
    plan.rows <= plan.end - plan.start,
    `a plan of ${plan.end - plan.start} offsets has ${plan.rows} rows`,
  );
  const { start, end, rows, crc, token, sealedAt } = plan;
  const text = JSON.stringify({ v: planVersion, start, end, rows, crc, token, at: sealedAt });
  assertInvariant(Buffer.byteLength(text) <= maxPlanBytes, `a plan must fit ${maxPlanBytes} bytes: ${text}`);
  return text;
}

/**
 * Reads a plan; undefined when there is none.
 * @throws InvariantError when the metadata is not a plan: somebody else commits to this group
 */
export function decodePlan(text: string): Plan | undefined {
  if (text === '') return undefined;
  const parsed = planSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new InvariantError(
      `the commit metadata is not a plan of this version: ${text.slice(0, 200)}. ` +
        'Another program commits to this consumer group, or a newer Millrace did; give this one its own --kafka-group',
    );
  }
  const { start, end, rows, crc, token, at: sealedAt } = parsed.data;
  return { start, end, rows, crc, token, sealedAt };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
