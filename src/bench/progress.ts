/** What a person sees while a load runs: one line on a terminal, elsewhere a line every ten seconds. */
import { countOf, formatCount, formatMs } from '../text.ts';
import type { LoadSecond } from './load.ts';

/** Shows how a run is going, on standard error. */
export interface Progress {
  /** A second of the load has passed. `lag`: records not delivered yet; undefined when nobody says. */
  second(second: LoadSecond, lag: number | undefined): void;
  /** What is done now, for the time being; only on a terminal. */
  step(text: string): void;
  /** A line that stays. */
  line(text: string): void;
  /** Takes away what was for the time being. */
  clear(): void;
}

const linesEverySeconds = 10;

/** Makes one, for any number of runs. */
export function createProgress(stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>): Progress {
  let errors = 0;
  let lastAt = 0;
  const clear = (): void => {
    if (stream.isTTY) stream.write('\r\u001b[K');
  };
  const show = (text: string): void => {
    if (stream.isTTY) stream.write(`\r\u001b[K${text}`);
  };
  return {
    second(second, lag) {
      // A new run begins at 0 again.
      if (second.at < lastAt) lastAt = errors = 0;
      errors += second.failed;
      const text = formatSecond(second, { errors, lag });
      const isTime = Math.floor(second.at / linesEverySeconds) > Math.floor(lastAt / linesEverySeconds);
      lastAt = second.at;
      if (stream.isTTY) show(text);
      else if (isTime) stream.write(`${text}\n`);
    },
    step: (text) => show(`${text} ...`),
    line(text) {
      clear();
      stream.write(`${text}\n`);
    },
    clear,
  };
}

/** A second as a line: achieved against asked, latencies, failures so far, lag. */
export function formatSecond(
  { at, acknowledged, planned, p50Ms, p99Ms, waiting }: LoadSecond,
  { errors, lag }: { readonly errors: number; readonly lag: number | undefined },
): string {
  return [
    `${at.toFixed(0)} s`,
    `${formatCount(acknowledged)} of ${formatCount(planned)} requests/s`,
    `p50 ${formatMs(p50Ms)}`,
    `p99 ${formatMs(p99Ms)}`,
    countOf(errors, 'error'),
    `lag ${lag === undefined ? '-' : formatCount(lag)}`,
    ...(waiting > 0 ? [`${formatCount(waiting)} waiting to be sent`] : []),
  ].join(', ');
}
