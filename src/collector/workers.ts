/**
 * Several collector processes on one port: the parent starts them, starts again the ones that die, and adds
 * up their metrics, so that a scrape that reaches any of them sees all.
 */
import type { ChildProcess } from 'node:child_process';
import type { Logger } from 'pino';
import { AggregatorRegistry } from 'prom-client';
import { messageOf } from '../errors.ts';
import { type ChannelEnd, forkProgram, supervise, tell } from '../process/children.ts';

/** A message between parent and worker, beside those of every supervised process. */
type Message =
  | { readonly type: 'collect'; readonly id: number }
  | { readonly type: 'collected'; readonly id: number; readonly metrics: Snapshot }
  | { readonly type: 'gather'; readonly id: number }
  | { readonly type: 'gathered'; readonly id: number; readonly text: string };

type Snapshot = readonly { readonly type: string }[];

/** How long the parent waits for the metrics of one worker; then it takes what that said last. Milliseconds. */
const collectTimeoutMs = 1_000;
/** How long a worker waits for the metrics of all. Milliseconds. */
const gatherTimeoutMs = 3 * collectTimeoutMs;

/** Running workers. */
interface Workers {
  /** Port that they share. */
  readonly port: number;
  /** Stops them all in order; resolves when they have exited. They do not drain at leisure once `hurry` aborts. */
  stop(hurry?: AbortSignal): Promise<void>;
}

/**
 * Forks `count` processes of this program with the same arguments, all listening on the address `listen`.
 * @throws OperatorError with the exit code of the first that cannot start
 */
export async function startWorkers(count: number, listen: string, log: Logger): Promise<Workers> {
  const metrics = new WorkerMetrics(log);
  const args = [...process.argv.slice(2), '--listen', listen];
  const env = { ...process.env, MILLRACE_WORKER: '1' };
  const workers = Array.from({ length: count }, () =>
    supervise({
      command: 'collect',
      start: () => forkProgram(args, env),
      log,
      started: (child) => metrics.add(child),
      ended: (child) => metrics.retire(child),
    }),
  );
  const stop = async (hurry?: AbortSignal): Promise<void> => {
    for (const worker of workers) worker.expectEnd();
    await Promise.all(workers.map((worker) => worker.stop(hurry)));
  };
  try {
    const [first] = await Promise.all(workers.map(({ ready }) => ready));
    return { port: first?.port ?? 0, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What the workers count, and those before them have counted. */
class WorkerMetrics {
  readonly #log: Logger;
  /** What each said when it was asked last. */
  readonly #workers = new Map<ChildProcess, Snapshot>();
  /**
   * The sum of what the dead ones had counted when they were asked last: a counter that went back between two scrapes
   * would hide events. What one counted after that goes with it, as with any process that dies between two scrapes.
   */
  #retired: Promise<Snapshot> = Promise.resolve([]);
  readonly #pending = new PendingAnswers<Snapshot>();

  constructor(log: Logger) {
    this.#log = log;
  }

  add(worker: ChildProcess): void {
    this.#workers.set(worker, []);
    worker.on('message', (message: Message) => {
      if (message.type === 'collected') this.#pending.settle(message.id, message.metrics);
      else if (message.type === 'gather') void this.#answer(worker, message.id);
    });
  }

  retire(worker: ChildProcess): void {
    const counted = (this.#workers.get(worker) ?? []).filter(({ type }) => type !== 'gauge');
    this.#workers.delete(worker);
    if (counted.length > 0) this.#retired = this.#retired.then((before) => fold([before, counted]));
  }

  async #answer(worker: ChildProcess, id: number): Promise<void> {
    try {
      tell(worker, { type: 'gathered', id, text: await this.#gather() } satisfies Message);
    } catch (error) {
      // The worker says to whoever asked that there was no answer.
      this.#log.error({ err: error }, `the metrics of the workers cannot be added up: ${messageOf(error)}`);
    }
  }

  async #gather(): Promise<string> {
    await Promise.all([...this.#workers.keys()].map((worker) => this.#collect(worker)));
    // Both looked up at one moment: a worker that has died meanwhile is in one of them.
    const workers = [...this.#workers.values()];
    const retired = await this.#retired;
    return await add([retired, ...workers]).metrics();
  }

  async #collect(worker: ChildProcess): Promise<void> {
    const answer = await this.#pending.ask(worker, 'collect', collectTimeoutMs).catch(() => undefined);
    if (answer !== undefined && this.#workers.has(worker)) this.#workers.set(worker, answer);
  }
}

function add(snapshots: readonly Snapshot[]) {
  return AggregatorRegistry.aggregate(snapshots as object[]);
}

async function fold(snapshots: readonly Snapshot[]): Promise<Snapshot> {
  return (await add(snapshots).getMetricsAsJSON()) as unknown as Snapshot;
}

/** Questions over a channel that wait for their answers. */
class PendingAnswers<T> {
  readonly #waiting = new Map<number, (answer: T) => void>();
  #nextId = 0;

  /** @throws Error when the question cannot be sent, or there is no answer in time */
  async ask(peer: ChannelEnd, type: 'collect' | 'gather', timeoutMs: number): Promise<T> {
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, resolve);
        timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        tell(peer, { type, id } satisfies Message, () => reject(new Error('its process has ended')));
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  settle(id: number, answer: T): void {
    this.#waiting.get(id)?.(answer);
  }
}

/**
 * The worker's end: answers the parent, and asks it for the metrics of all. `gatherMetrics` throws when the parent is
 * gone or does not answer: the counts of this process alone would look like those of a collector that has lost some.
 */
export function connectToParent(
  metricsAsJson: () => Promise<object[]>,
  log: Logger,
): { gatherMetrics: () => Promise<string> } {
  const pending = new PendingAnswers<string>();
  const answer = async (id: number): Promise<void> => {
    try {
      const metrics = (await metricsAsJson()) as unknown as Snapshot;
      tell(process, { type: 'collected', id, metrics } satisfies Message);
    } catch (error) {
      log.error({ err: error }, `the metrics of this process cannot be read: ${messageOf(error)}`);
    }
  };
  process.on('message', (message: Message) => {
    if (message.type === 'gathered') pending.settle(message.id, message.text);
    else if (message.type === 'collect') void answer(message.id);
  });
  return {
    async gatherMetrics() {
      try {
        return await pending.ask(process, 'gather', gatherTimeoutMs);
      } catch (error) {
        throw new Error(`the parent of this process cannot be asked: ${messageOf(error)}`);
      }
    },
  };
}
