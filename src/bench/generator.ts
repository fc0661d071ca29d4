/** Sends requests when they are due, whatever the answers do, and takes what comes back. */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createReceipts } from '../verify/receipts.ts';
import type { Answer } from './answer-parser.ts';
import type { Connection, ConnectionFailure } from './connection.ts';
import { Connections, type RequestUser } from './connections.ts';
import type { Endpoint } from './endpoint.ts';
import type { LoadResult, LoadSecond } from './load.ts';
import { LoadCounts, readOutcome } from './load-counts.ts';
import type { Profile } from './profile.ts';

/** What a generator does. */
interface GeneratorOptions {
  readonly endpoint: Endpoint;
  readonly profile: Profile;
  /** Whole requests, head and body, sent in turn. */
  readonly requests: readonly Buffer[];
  readonly eventsPerPost: number;
  readonly connections: number;
  readonly connectionUse: 'kept' | 'fresh';
  readonly answerTimeoutMs: number;
  /** A request that found no free connection for so long is given up. */
  readonly longestWaitMs: number;
  readonly stop: AbortSignal;
  /** Told when it was stopped and so many answers are still waited for. */
  readonly onStopping?: (requests: number) => void;
  readonly onSecond: (second: LoadSecond) => void;
}

const tendEveryMs = 100;
/** Opening the connections takes no longer before the first request is due. */
const mostOpeningMs = 10_000;

/** Runs a profile to its end, or until it is told to stop. */
export async function generateLoad(options: GeneratorOptions): Promise<LoadResult> {
  return await new Generator(options).run();
}

/** One run. Times are milliseconds from its start. */
class Generator implements RequestUser {
  readonly #options: GeneratorOptions;
  readonly #connections: Connections;
  readonly #tally: LoadCounts;
  readonly #receipts = createReceipts();
  /** By request of `options.requests`, how often all of its events were acknowledged. */
  readonly #acknowledgedBodies: Float64Array;
  #startMs = 0;
  /** Requests to send: all of the profile, fewer after a stop. */
  #total: number;
  /** Requests that are due by now. */
  #due = 0;
  #nextDueMs: number;
  /** Requests that were sent or given up; those from here to `due` wait. */
  #taken = 0;
  /** Requests that were given to a connection and have no answer. */
  #inFlight = 0;
  /** Requests that waited when the last one became due; undefined until then. */
  #waitingAtEnd: number | undefined;
  #stoppedMs: number | undefined;
  #nextSecondMs = 1_000;
  #timer: NodeJS.Timeout | undefined;
  #finish: () => void = () => {};

  constructor(options: GeneratorOptions) {
    this.#options = options;
    this.#total = options.profile.requests;
    this.#nextDueMs = options.profile.plannedMs(0);
    this.#tally = new LoadCounts(options.eventsPerPost, options.answerTimeoutMs);
    this.#acknowledgedBodies = new Float64Array(options.requests.length);
    const { endpoint, connections: max, connectionUse, answerTimeoutMs: timeoutMs } = options;
    const isKept = connectionUse === 'kept';
    this.#connections = new Connections({ endpoint, max, isKept, timeoutMs }, this);
  }

  async run(): Promise<LoadResult> {
    const { stop } = this.#options;
    await this.#openConnections();
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    const stopNow = () => this.#stop();
    this.#startMs = performance.now();
    const before = performance.eventLoopUtilization();
    if (stop.aborted) stopNow();
    stop.addEventListener('abort', stopNow);
    const tending = setInterval(() => this.#tend(), tendEveryMs);
    this.#wake();
    await finished;
    clearInterval(tending);
    clearTimeout(this.#timer);
    stop.removeEventListener('abort', stopNow);
    this.#connections.close();
    this.#endSecond(this.#now());
    return this.#result(performance.eventLoopUtilization(before));
  }

  written(): void {
    this.#tally.sent();
  }

  answered(connection: Connection, answer: Answer): void {
    this.#inFlight--;
    const { eventsPerPost, requests } = this.#options;
    const outcome = readOutcome(answer, eventsPerPost, this.#receipts);
    if (outcome.accepted === eventsPerPost) {
      const body = connection.number % requests.length;
      this.#acknowledgedBodies[body] = (this.#acknowledgedBodies[body] as number) + 1;
    }
    this.#tally.answered(outcome, this.#now() - connection.plannedMs);
  }

  failed(connection: Connection, { reason, isSent }: ConnectionFailure): void {
    if (!connection.isBusy) return;
    this.#inFlight--;
    const elapsedMs = this.#now() - connection.plannedMs;
    if (isSent) this.#tally.lost(reason, elapsedMs);
    else {
      if (connection.isOpen) this.#tally.takeBackSent();
      this.#tally.notSent(reason, elapsedMs);
    }
  }

  freed(): void {
    if (this.#startMs > 0) this.#send();
  }

  #now(): number {
    return performance.now() - this.#startMs;
  }

  async #openConnections(): Promise<void> {
    this.#connections.fill();
    const deadline = performance.now() + mostOpeningMs;
    const isWanted = () => !this.#options.stop.aborted && performance.now() < deadline;
    while (this.#connections.isOpening && isWanted()) await sleep(1);
  }

  /** Sends what is due, and comes back when the next one is. Timers are no finer than a millisecond. */
  #wake(): void {
    this.#send();
    const nowMs = this.#now();
    const nextMs = Math.min(this.#nextDueMs, this.#nextSecondMs);
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, nextMs - nowMs));
  }

  #tend(): void {
    this.#connections.tend();
    this.#send();
  }

  /** Also called when an answer has come: so requests are sent closer to their time than timers allow. */
  #send(): void {
    const nowMs = this.#now();
    this.#count(nowMs);
    this.#sendDue(nowMs);
    if (this.#due === this.#total) this.#waitingAtEnd ??= this.#due - this.#taken;
    if (nowMs >= this.#nextSecondMs) this.#endSecond(nowMs);
    if (this.#taken === this.#total && this.#inFlight === 0) this.#finish();
  }

  #sendDue(nowMs: number): void {
    const { profile, requests, longestWaitMs } = this.#options;
    while (this.#taken < this.#due) {
      const number = this.#taken;
      const plannedMs = profile.plannedMs(number);
      const elapsedMs = nowMs - plannedMs;
      if (elapsedMs > longestWaitMs) this.#tally.notSent('not sent: all connections busy', elapsedMs);
      else if (this.#connections.trySend(requests[number % requests.length] as Buffer, { number, plannedMs }))
        this.#inFlight++;
      else return;
      this.#taken++;
    }
  }

  /** Counts what is due by now. */
  #count(nowMs: number): void {
    while (this.#due < this.#total && this.#nextDueMs <= nowMs) {
      this.#tally.due(nowMs - this.#nextDueMs);
      this.#due++;
      this.#nextDueMs = this.#due < this.#total ? this.#options.profile.plannedMs(this.#due) : Infinity;
    }
  }

  #stop(): void {
    const nowMs = this.#now();
    this.#count(nowMs);
    for (; this.#taken < this.#due; this.#taken++) {
      const elapsedMs = nowMs - this.#options.profile.plannedMs(this.#taken);
      this.#tally.stopped('not sent: the run was stopped', elapsedMs);
    }
    this.#total = this.#due;
    this.#stoppedMs = nowMs;
    this.#nextDueMs = Infinity;
    if (this.#inFlight > 0) this.#options.onStopping?.(this.#inFlight);
    this.#send();
  }

  #endSecond(nowMs: number): void {
    this.#nextSecondMs = (Math.floor(nowMs / 1000) + 1) * 1000;
    const waiting = this.#due - this.#taken;
    const second = this.#tally.endSecond({ at: nowMs / 1000, planned: this.#due, waiting });
    this.#options.onSecond(second);
  }

  #result({ utilization }: EventLoopUtilization): LoadResult {
    const { profile, eventsPerPost } = this.#options;
    const { requests, events, answers, failures, latency, lateness, series } = this.#tally;
    const lastMs = this.#total === 0 ? 0 : profile.plannedMs(this.#total - 1);
    return {
      seconds: (this.#stoppedMs ?? lastMs) / 1000,
      planned: requests.planned,
      sent: requests.sent,
      waitingAtEnd: this.#waitingAtEnd ?? 0,
      answers,
      acknowledged: requests.acknowledged,
      failures,
      eventsSent: requests.sent * eventsPerPost,
      eventsAcknowledged: events.accepted,
      eventsRejected: events.rejected,
      eventsUnknown: events.unknown,
      receipts: this.#receipts,
      acknowledgedBodies: this.#acknowledgedBodies,
      latency,
      lateness,
      generatorBusy: utilization,
      series,
    };
  }
}
