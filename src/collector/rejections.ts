/** How an answer tells which events of a batch were refused. */
import { problems, type Rejection } from './problem.ts';

/** So many are told in full. A body of many small mistakes must not be answered with many times its size. */
const mostListed = 500;

/** Positions of events that follow each other: the first and the last. */
export type IndexRange = readonly [first: number, last: number];

/** Refused events as an answer has them. */
export interface ToldRejections {
  /** The first ones. */
  readonly rejected: readonly Rejection[];
  /** Where the others are, so that nothing that was stored is sent again, nor forgotten what was not. */
  readonly rejected_more?: {
    readonly count: number;
    /** Sending these again cannot help. */
    readonly permanent: readonly IndexRange[];
    /** Sending these again can. */
    readonly retriable: readonly IndexRange[];
  };
}

/** Tells refused events, given by ascending index. */
export function tellRejections(rejections: readonly Rejection[]): ToldRejections {
  if (rejections.length <= mostListed) return { rejected: rejections };
  const others = rejections.slice(mostListed);
  const rangesOf = (retry: boolean) =>
    joinIndexes(others.filter(({ code }) => problems[code].retry === retry));
  return {
    rejected: rejections.slice(0, mostListed),
    rejected_more: { count: others.length, permanent: rangesOf(false), retriable: rangesOf(true) },
  };
}

function joinIndexes(rejections: readonly Rejection[]): IndexRange[] {
  const ranges: [number, number][] = [];
  for (const { index } of rejections) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else ranges.push([index, index]);
  }
  return ranges;
}
