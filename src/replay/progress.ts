import { SingleBar } from 'cli-progress';
import { formatCount, printable } from '../text.ts';

/** What the progress bar shows. */
interface ProgressState {
  /** Bytes of the file, of which all lines are dealt with. */
  readonly bytes: number;
  readonly sent: number;
  readonly rejected: number;
  /** Events a second, lately. */
  readonly rate: number;
  /** What is wrong now; empty when nothing is. */
  readonly trouble: string;
}

/** A progress bar. */
export interface Progress {
  update(state: ProgressState): void;
  stop(): void;
}

const counts = '{sent} sent, {rate}/s, {rejected} rejected';

/**
 * Makes a progress bar on a terminal; where `stream` is none, there is no bar.
 * @param size bytes of the file; undefined when not known: then there is no bar either, only counts
 */
export function createProgress(stream: NodeJS.WriteStream, size: number | undefined): Progress {
  if (!stream.isTTY) return { update: () => {}, stop: () => {} };
  const bar = new SingleBar({
    stream,
    format:
      size === undefined
        ? `${counts}{trouble}`
        : `{bar} {percentage}% ${counts}, ETA {eta_formatted}{trouble}`,
    barsize: 24,
    etaBuffer: 50,
    hideCursor: true,
    // The command stops on signals by itself.
    gracefulExit: false,
  });
  bar.start(size ?? 1, 0, { sent: 0, rate: 0, rejected: 0, trouble: '' });
  return {
    update({ bytes, sent, rate, rejected, trouble }) {
      const payload = {
        sent: formatCount(sent),
        rate: formatCount(rate),
        rejected: formatCount(rejected),
        trouble: trouble === '' ? '' : ` | trying again: ${printable(trouble.slice(0, 60))}`,
      };
      bar.update(size === undefined ? 0 : Math.min(size, Math.floor(bytes)), payload);
    },
    stop: () => bar.stop(),
  };
}

/** Makes a function that turns totals into a rate over the last few calls. */
export function createRateMeter(): (total: number, nowMs: number) => number {
  const samples: { readonly total: number; readonly nowMs: number }[] = [];
  return (total, nowMs) => {
    samples.push({ total, nowMs });
    if (samples.length > 10) samples.shift();
    const [first] = samples;
    if (first === undefined || first.nowMs === nowMs) return 0;
    return ((total - first.total) * 1000) / (nowMs - first.nowMs);
  };
}
