/** What a process costs and how far it lags behind, by its `/metrics`. */
import { metricTable } from '../metrics/metrics.ts';
import type { Fetched, HttpGetter } from './endpoint.ts';

/** What a process took for what it did. Names are those of the JSON. */
export interface Cost {
  /** CPU seconds, user and system, of all its workers. */
  readonly cpu_seconds: number;
  /** Events acknowledged, or rows inserted. */
  readonly events: number;
  readonly events_per_cpu_second: number;
  /** Microseconds. */
  readonly cpu_us_per_event: number;
  /** Most resident memory that was seen, looking every five seconds, or every second at a streamer. */
  readonly max_resident_bytes: number | null;
  /** Whether `events` is what the process itself has counted: events of other clients, too. */
  readonly is_counted_by_process: boolean;
}

/** Why the cost of a process is not known, for a person. */
interface UnknownCost {
  readonly unknown: string;
}

/** What a process took, or why that is not known. */
export type CostFound = Cost | UnknownCost;

/** Counts of a process that only grow, while it lives. */
interface Counts {
  readonly cpuSeconds: number;
  /** Undefined: the process has no such metric. */
  readonly events: number | undefined;
  /** Changes when it is started anew, or when another one answers at the same address. */
  readonly startedAt: number | undefined;
}

/** Watches one process. */
export interface ProcessWatch {
  /** Looks; resolves when it has, also in vain. */
  look(): Promise<void>;
  /** Looks, and counts from here on. */
  begin(): Promise<void>;
  /**
   * Looks, and sums up.
   * @param events what it did, for a process that does not count it
   * @returns why not, when it could not be seen, was started anew meanwhile, or did nothing
   */
  end(events: number | undefined): Promise<CostFound>;
  /** Records that are not delivered yet, as a streamer says it; undefined when nobody says. */
  readonly lag: number | undefined;
  /** Undefined when it could not be seen. */
  readonly residentBytes: number | undefined;
}

/** What each process counts as its work. */
const workMetrics = { collector: metricTable.accepted.name, streamer: metricTable.rows.name } as const;

/** Watches the process at this address; undefined: nothing is ever seen. */
export function watchProcess(
  http: HttpGetter,
  origin: URL | undefined,
  kind: keyof typeof workMetrics,
): ProcessWatch {
  return new MetricsWatch(http, origin, kind);
}

class MetricsWatch implements ProcessWatch {
  readonly #http: HttpGetter;
  readonly #origin: URL | undefined;
  readonly #kind: keyof typeof workMetrics;
  #latest: Counts | undefined;
  #first: Counts | undefined;
  /** Why there is no `latest`, and no `first`. */
  #problem = 'it was not measured';
  #firstProblem = this.#problem;
  #maxResident: number | undefined;
  lag: number | undefined;
  residentBytes: number | undefined;

  constructor(http: HttpGetter, origin: URL | undefined, kind: keyof typeof workMetrics) {
    this.#http = http;
    this.#origin = origin;
    this.#kind = kind;
  }

  async look(): Promise<void> {
    const origin = this.#origin;
    if (origin === undefined) return;
    const answer = await this.#http.get(new URL('/metrics', origin));
    const text = answer.status === 200 ? answer.body : '';
    this.#problem = problemOf(answer, origin);
    this.#latest = countsOf(text, this.#kind);
    this.residentBytes = sumMetric(text, 'process_resident_memory_bytes');
    this.lag = this.#kind === 'streamer' ? sumMetric(text, metricTable.lag.name) : undefined;
    if (this.residentBytes !== undefined)
      this.#maxResident = Math.max(this.#maxResident ?? 0, this.residentBytes);
  }

  async begin(): Promise<void> {
    this.#maxResident = undefined;
    await this.look();
    this.#first = this.#latest;
    this.#firstProblem = this.#problem;
  }

  async end(events: number | undefined): Promise<CostFound> {
    await this.look();
    const first = this.#first;
    const latest = this.#latest;
    if (latest === undefined) return { unknown: this.#problem };
    if (first === undefined) return { unknown: `before the run, ${this.#firstProblem}` };
    if (first.startedAt !== latest.startedAt)
      return { unknown: 'it was restarted meanwhile, or several processes answer at its address' };
    const cpuSeconds = latest.cpuSeconds - first.cpuSeconds;
    const counted = latest.events === undefined ? undefined : latest.events - (first.events ?? 0);
    const work = counted ?? events ?? 0;
    if (work <= 0)
      return { unknown: `it took no ${this.#kind === 'collector' ? 'events' : 'rows'} meanwhile` };
    if (cpuSeconds <= 0) return { unknown: 'it took too little CPU time to be measured' };
    return {
      cpu_seconds: cpuSeconds,
      events: work,
      events_per_cpu_second: work / cpuSeconds,
      cpu_us_per_event: (cpuSeconds / work) * 1e6,
      max_resident_bytes: this.#maxResident ?? null,
      is_counted_by_process: counted !== undefined,
    };
  }
}

function countsOf(text: string, kind: keyof typeof workMetrics): Counts | undefined {
  const cpuSeconds = sumMetric(text, 'process_cpu_seconds_total');
  if (cpuSeconds === undefined) return undefined;
  return {
    cpuSeconds,
    events: sumMetric(text, workMetrics[kind]),
    startedAt: sumMetric(text, 'process_start_time_seconds'),
  };
}

/** Why an answer does not tell the CPU time. */
function problemOf(answer: Fetched, origin: URL): string {
  if (answer.status === undefined) return `${origin.origin} does not answer: ${answer.reason}`;
  if (answer.status !== 200) return `${origin.origin}/metrics answers ${answer.status}`;
  return `${origin.origin}/metrics does not report its CPU time`;
}

/** The sum over all labels of a metric in Prometheus' text; undefined when it is not there. */
export function sumMetric(text: string, name: string): number | undefined {
  let sum: number | undefined;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    // A label's value may hold anything, a closing brace too: the value is what stands behind the last one.
    const rest = line.slice(name.length);
    const match = /^(?:\{.*\})? (\S+)/.exec(rest);
    const value = Number(match?.[1] ?? Number.NaN);
    if (!Number.isNaN(value)) sum = (sum ?? 0) + value;
  }
  return sum;
}
