import { printable } from '../printable.ts';
import type { Counts } from './tally.ts';

/** How a run ended. */
export interface Summary extends Counts {
  /** Complete: the whole file was dealt with. Stopped: by a signal. Failed: `failure` says why. */
  readonly state: 'complete' | 'stopped' | 'failed';
  readonly seconds: number;
  /** How late the latest batch went out, milliseconds; undefined when events had no time to keep. */
  readonly maxLateMs: number | undefined;
  readonly failure: string | undefined;
}

/** The summary as one line of JSON. */
export function formatSummaryJson(summary: Summary): string {
  return JSON.stringify({
    state: summary.state,
    ...(summary.failure === undefined ? {} : { failure: summary.failure }),
    sent: summary.sent,
    accepted: summary.accepted,
    rejected: summary.rejected,
    unreadable: summary.unreadable,
    seconds: round(summary.seconds),
    rate: rateOf(summary),
    retries: summary.retries,
    lost_answers: summary.lostAnswers,
    ...(summary.maxLateMs === undefined ? {} : { max_late_ms: round(summary.maxLateMs) }),
    partitions: summary.partitions.map(({ partition, events, firstOffset, lastOffset }) => ({
      partition,
      events,
      first_offset: firstOffset,
      last_offset: lastOffset,
    })),
    faults: summary.faults,
    resume_line: summary.resumeLine,
  });
}

/** The summary for a person. `name` is what was replayed. */
export function formatSummary(summary: Summary, name: string): string {
  const lines = [
    row(
      'sent',
      `${count(summary.sent, 'event')} in ${round(summary.seconds)} s, ${format(rateOf(summary))}/s`,
    ),
    row('accepted', format(summary.accepted)),
    row('rejected', format(summary.rejected)),
    row('unreadable', format(summary.unreadable)),
    ...summary.partitions.map(({ partition, events, firstOffset, lastOffset }) =>
      row(`partition ${partition}`, `${count(events, 'event')}, offsets ${firstOffset} to ${lastOffset}`),
    ),
    ...retryLines(summary),
  ];
  // Within the tolerance of timers, nothing was late.
  if ((summary.maxLateMs ?? 0) > 1_000) {
    lines.push(
      row('late', `up to ${round((summary.maxLateMs ?? 0) / 1000)} s: the collector did not keep up`),
    );
  }
  if (summary.faults.length > 0) lines.push('first lines that were rejected or unreadable:');
  lines.push(
    ...summary.faults.map(
      ({ line, code, detail }) => `  line ${line}: ${printable(code)}: ${printable(detail)}`,
    ),
  );
  if (summary.state !== 'complete') {
    lines.push(
      `${summary.state} after line ${summary.resumeLine} of ${name}; --skip ${summary.resumeLine} goes on`,
    );
  }
  return lines.join('\n');
}

function retryLines({ retries, lostAnswers }: Summary): string[] {
  if (retries === 0) return [];
  const lines = [row('retried', count(retries, 'request'))];
  if (lostAnswers > 0) {
    lines.push(
      row(
        '',
        `${format(lostAnswers)} after a lost answer: those events may be stored twice, unless they have an id`,
      ),
    );
  }
  return lines;
}

function row(title: string, value: string): string {
  return `${title.padEnd(13)} ${value}`;
}

function rateOf({ sent, seconds }: Summary): number {
  return seconds > 0 ? Math.round(sent / seconds) : 0;
}

function count(n: number, noun: string): string {
  return `${format(n)} ${noun}${n === 1 ? '' : 's'}`;
}

function format(n: number): string {
  return n.toLocaleString('en-US');
}

function round(n: number): number {
  return Math.round(n * 1000) / 1000;
}
