/** Counts what became of the events of a replay, and sums it up for a person. */
import { formatCount, printable, round } from '../text.ts';
import type { Outcome } from './answer.ts';
import { type Batch, type LineFault, maxFaultsShown } from './batch.ts';

/** Events stored in one partition. */
interface PartitionSummary {
  readonly partition: number;
  readonly events: number;
  /** Lowest and highest offset of them; other clients may have offsets in between. */
  readonly firstOffset: number;
  readonly lastOffset: number;
}

/** How far a run has come. */
interface Counts {
  /** Events that were answered: accepted and rejected. */
  readonly sent: number;
  readonly accepted: number;
  readonly rejected: number;
  /** Lines that are no events. */
  readonly unreadable: number;
  /** Requests sent again. */
  readonly retries: number;
  /** Of those, the ones whose first answer was lost: their events may be stored twice. */
  readonly lostAnswers: number;
  /** The first rejected and unreadable lines, in the order of the file. */
  readonly faults: readonly LineFault[];
  readonly partitions: readonly PartitionSummary[];
  /** Every line up to this one is dealt with. */
  readonly resumeLine: number;
  /** Position in the file up to which lines were dealt with, lines in flight left aside. */
  readonly end: number;
}

type Answered = Extract<Outcome, { kind: 'answered' }>;

/** Keeps count of a run. */
export class ReplayCounts {
  #accepted = 0;
  #rejected = 0;
  #unreadable = 0;
  #retries = 0;
  #lostAnswers = 0;
  #faults: LineFault[] = [];
  #lastLine = 0;
  #end = 0;
  readonly #partitions = new Map<number, PartitionSummary>();
  /** Batches in flight, oldest first. */
  readonly #inFlight = new Set<Batch>();

  /** A batch goes out. Batches come in the order of the file. */
  begin(batch: Batch): void {
    this.#inFlight.add(batch);
    this.#lastLine = batch.lastLine;
  }

  /** A batch is done; without an answer, because it had nothing to send. */
  settle(batch: Batch, answer?: Answered): void {
    this.#inFlight.delete(batch);
    this.#end = Math.max(this.#end, batch.end);
    this.#unreadable += batch.unreadable;
    this.#addFaults(batch.faults);
    if (answer === undefined) return;
    this.#accepted += answer.accepted;
    this.#rejected += Math.max(0, batch.lines.length - answer.accepted);
    this.#addFaults(
      answer.rejections
        .slice(0, maxFaultsShown)
        .map(({ index, code, detail }) => ({ line: batch.lines[index] ?? batch.lastLine, code, detail })),
    );
    for (const { partition, offset, count } of answer.receipts) this.#addReceipt(partition, offset, count);
  }

  /** A request is sent again. */
  retry(isLost: boolean): void {
    this.#retries += 1;
    if (isLost) this.#lostAnswers += 1;
  }

  /** The counts now. */
  read(): Counts {
    const [oldest] = this.#inFlight;
    return {
      sent: this.#accepted + this.#rejected,
      accepted: this.#accepted,
      rejected: this.#rejected,
      unreadable: this.#unreadable,
      retries: this.#retries,
      lostAnswers: this.#lostAnswers,
      faults: this.#faults,
      partitions: [...this.#partitions.values()].sort((a, b) => a.partition - b.partition),
      resumeLine: oldest?.afterLine ?? this.#lastLine,
      end: this.#end,
    };
  }

  #addFaults(faults: readonly LineFault[]): void {
    if (faults.length === 0) return;
    this.#faults = [...this.#faults, ...faults].sort((a, b) => a.line - b.line).slice(0, maxFaultsShown);
  }

  #addReceipt(partition: number, offset: number, count: number): void {
    const known = this.#partitions.get(partition);
    this.#partitions.set(partition, {
      partition,
      events: (known?.events ?? 0) + count,
      firstOffset: Math.min(known?.firstOffset ?? offset, offset),
      lastOffset: Math.max(known?.lastOffset ?? 0, offset + count - 1),
    });
  }
}

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
      `${count(summary.sent, 'event')} in ${round(summary.seconds)} s, ${formatCount(rateOf(summary))}/s`,
    ),
    row('accepted', formatCount(summary.accepted)),
    row('rejected', formatCount(summary.rejected)),
    row('unreadable', formatCount(summary.unreadable)),
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
      `${summary.state} after line ${summary.resumeLine} of ${name}; continue with --skip ${summary.resumeLine}`,
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
        `${formatCount(lostAnswers)} after a lost answer: those events may be stored twice, unless they have an id`,
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
  return `${formatCount(n)} ${noun}${n === 1 ? '' : 's'}`;
}
