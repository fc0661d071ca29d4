/** How far a partition is delivered, as its commit says. */
import type { PartitionView } from '../buffer/buffer.ts';
import { decodeNote } from './plan.ts';

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
