/**
 * What a commit carries beside its offset. The plan of one insert is committed in the buffer before the insert
 * begins: whoever owns the partition next reads it and inserts the same rows with the same token, so that the
 * repeat is dropped.
 *
 * How far a partition is delivered, as its commit says.
 */
import { z } from 'zod';
import type { PartitionIdentity, PartitionView } from '../../buffer/buffer.ts';
import { assertInvariant, InvariantError } from '../../errors.ts';
import type { ReadBack } from '../ids/recent-ids.ts';

/** Kafka's default limit for commit metadata (`offset.metadata.max.bytes`). */
const maxNoteBytes = 4_096;

/** Version of the note and of the row encoding that a plan's crc was taken over. */
const noteVersion = 3;
/** A version whose notes are still read. Its rows were encoded otherwise, so that the crc of a plan says nothing. */
const earlierNoteVersion = 2;

/** What is about to be inserted: the records of one partition with start <= offset < end. */
export interface Plan {
  /** Position of the first record; equals the end of the plan before it. */
  readonly start: number;
  /** Position after the last record. */
  readonly end: number;
  /** Records, those that repeat an id included. */
  readonly rows: number;
  /** CRC-32 of the rows of all records; undefined in a plan of an earlier version, which took it over others. */
  readonly crc: number | undefined;
  /** CRC-32 of which of them repeat which; 0 when none does. */
  readonly repeatsCrc: number;
  /** Deduplication token; stored, never computed again. */
  readonly token: string;
  /** When it was sealed, milliseconds since the epoch. */
  readonly sealedAt: number;
}

/** What is written beside a committed offset. */
export interface CommitNote {
  /** The topic that the offset belongs to: a later one of the same name has another id. */
  readonly topicId: string;
  /** From where ids are to be read again, to know at the offset which ones were seen; undefined when none count. */
  readonly ids: ReadBack | undefined;
  /**
   * Batches that start before this offset are settled by asking ClickHouse, since it had rows there although the
   * commit said otherwise. Undefined when there is nothing to doubt.
   */
  readonly settleUntil: number | undefined;
  /** The insert in flight; undefined when everything before the offset is delivered and nothing is under way. */
  readonly plan: Plan | undefined;
}

const offset = z.int().min(0);
const noteSchema = z.object({
  v: z.union([z.literal(noteVersion), z.literal(earlierNoteVersion)]),
  topic: z.string(),
  ids: z.tuple([offset.nullable(), z.number()]).optional(),
  settle: offset.optional(),
  plan: z
    .object({
      start: offset,
      end: offset,
      rows: z.int().min(1),
      crc: z.int().min(0),
      rep: z.int().min(0),
      token: z.string().min(1),
      at: z.int(),
    })
    .optional(),
});

/** The token of a range: one token, one range, for ever. */
export function tokenOf(
  { topic, topicId, partition }: PartitionIdentity,
  start: number,
  end: number,
): string {
  return `${topic}:${topicId}:${partition}:${start}:${end}`;
}

/** Writes a note as commit metadata. */
export function encodeNote({ topicId, ids, settleUntil, plan }: CommitNote): string {
  const text = JSON.stringify({
    v: noteVersion,
    topic: topicId,
    ...(ids === undefined ? {} : { ids: [ids.offset ?? null, ids.logTime] }),
    ...(settleUntil === undefined ? {} : { settle: settleUntil }),
    ...(plan === undefined ? {} : { plan: encodePlan(plan) }),
  });
  assertInvariant(Buffer.byteLength(text) <= maxNoteBytes, `a note must fit ${maxNoteBytes} bytes: ${text}`);
  return text;
}

function encodePlan({ start, end, rows, crc, repeatsCrc: rep, token, sealedAt: at }: Plan) {
  assertInvariant(end > start, `a plan must end after it starts: ${start} to ${end}`);
  assertInvariant(rows <= end - start, `a plan of ${end - start} offsets has ${rows} rows`);
  assertInvariant(crc !== undefined, `a plan is written with the crc of its rows: ${token}`);
  return { start, end, rows, crc, rep, token, at };
}

/**
 * Reads a note; undefined when there is none, as after an operator has set the offset.
 * @throws InvariantError when the metadata is no note: somebody else commits to this group
 */
export function decodeNote(text: string): CommitNote | undefined {
  if (text === '') return undefined;
  const parsed = noteSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new InvariantError(
      `the commit metadata is not from this version: ${text.slice(0, 200)}. ` +
        'Another program commits to this consumer group, or a newer Millrace did; give this one its own --kafka-group',
    );
  }
  const { v, topic: topicId, ids, settle: settleUntil, plan } = parsed.data;
  return {
    topicId,
    ids: ids === undefined ? undefined : { offset: ids[0] ?? undefined, logTime: ids[1] },
    settleUntil,
    plan: plan === undefined ? undefined : readPlan(plan, v === noteVersion),
  };
}

function readPlan(
  { crc, rep: repeatsCrc, at: sealedAt, ...others }: ReturnType<typeof encodePlan>,
  isComparable: boolean,
): Plan {
  return { ...others, crc: isComparable ? crc : undefined, repeatsCrc, sealedAt };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What is delivered of one partition. */
export interface Progress {
  /** Everything before this offset is delivered. */
  readonly committed: number;
  /** Whether that was committed; else nothing ever was, and it is where the buffer begins. */
  readonly isCommitted: boolean;
  /** Offsets of the insert in flight, start <= offset < end: they may be in ClickHouse or not. */
  readonly inFlight: { readonly start: number; readonly end: number } | undefined;
}

/**
 * Reads the commit of a partition. One for a former topic of the same name says nothing of this one.
 * @throws InvariantError when another program commits to the group
 */
export function readProgress({ start, commit }: PartitionView, topicId: string): Progress {
  const note = decodeNote(commit?.plan ?? '');
  if (commit === undefined || (note !== undefined && note.topicId !== topicId))
    return { committed: start, isCommitted: false, inFlight: undefined };
  const plan = note?.plan;
  const inFlight = plan === undefined ? undefined : { start: plan.start, end: plan.end };
  return { committed: commit.offset, isCommitted: true, inFlight };
}
