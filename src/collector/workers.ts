/**
 * Several collector processes on one port: the parent starts them, starts again the ones that die, and adds
 * up their metrics, so that a scrape that reaches any of them sees all.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from 'pino';
import { AggregatorRegistry } from 'prom-client';
import { exitCodes, OperatorError } from '../errors.ts';
import { endChild } from '../process/end-child.ts';
import { childFlags } from '../process/node-flags.ts';

/** A message between parent and worker. */
type Message =
  | { readonly type: 'ready'; readonly port: number }
  | { readonly type: 'collect'; readonly id: number }
  | { readonly type: 'collected'; readonly id: number; readonly metrics: Snapshot }
  | { readonly type: 'gather'; readonly id: number }
  | { readonly type: 'gathered'; readonly id: number; readonly text: string };

type Snapshot = readonly { readonly type: string }[];

const answerTimeoutMs = 1_000;
const restartDelayMs = 1_000;

/** Running workers. */
export interface Workers {
  /** Port that they share. */
  readonly port: number;
  /** Stops them all in order; resolves when they have exited. */
  stop(): Promise<void>;
}

/**
 * Forks `count` processes of this program with the same arguments, all listening on the address `listen`.
 * @throws OperatorError exit 69 when one of them cannot start
 */
export async function startWorkers(count: number, listen: string, log: Logger): Promise<Workers> {
  const workers = new Map<ChildProcess, Snapshot>();
  /** What the dead ones had counted: a counter that went back would hide events. */
  const retired: Snapshot[] = [];
  const pending = new Map<number, (metrics: Snapshot) => void>();
  let isStopping = false;
  let nextId = 0;

  async function collect(worker: ChildProcess): Promise<Snapshot> {
    const id = nextId++;
    const answer = new Promise<Snapshot>((resolve) => {
      pending.set(id, resolve);
      const timer = setTimeout(() => resolve(workers.get(worker) ?? []), answerTimeoutMs);
      timer.unref();
    });
    if (worker.connected) worker.send({ type: 'collect', id });
    const metrics = await answer;
    pending.delete(id);
    if (workers.has(worker)) workers.set(worker, metrics);
    return metrics;
  }

  async function gather(): Promise<string> {
    const snapshots = await Promise.all([...workers.keys()].map(collect));
    return await AggregatorRegistry.aggregate([...retired, ...snapshots] as object[]).metrics();
  }

  function receive(worker: ChildProcess, message: Message): void {
    if (message.type === 'collected') pending.get(message.id)?.(message.metrics);
    if (message.type !== 'gather') return;
    void gather().then((text) => {
      if (worker.connected) worker.send({ type: 'gathered', id: message.id, text });
    });
  }

  function start(): Promise<number> {
    const worker = fork(process.argv[1] ?? '', [...process.argv.slice(2), '--listen', listen], {
      env: { ...process.env, MILLRACE_WORKER: '1' },
      execArgv: childFlags(),
      // In a session of its own: Ctrl-C reaches the parent alone, which tells the workers.
      detached: true,
    });
    workers.set(worker, []);
    const snapshots = setInterval(() => void collect(worker), 2 * answerTimeoutMs);
    return new Promise((resolve, reject) => {
      worker.on('message', (message: Message) => {
        if (message.type === 'ready') resolve(message.port);
        else receive(worker, message);
      });
      worker.once('exit', (code, signal) => {
        clearInterval(snapshots);
        retired.push((workers.get(worker) ?? []).filter(({ type }) => type !== 'gauge'));
        workers.delete(worker);
        reject(
          new OperatorError(
            `a collector process could not start (exit ${code ?? signal})`,
            exitCodes.unavailable,
          ),
        );
        if (isStopping) return;
        log.error(`a collector process ended (${signal ?? code}); starting another`);
        setTimeout(() => isStopping || void start().catch(() => {}), restartDelayMs);
      });
    });
  }

  async function stop(): Promise<void> {
    isStopping = true;
    await Promise.all([...workers.keys()].map((worker) => endChild(worker, { isReady: true })));
  }

  try {
    const ports = await Promise.all(Array.from({ length: count }, start));
    return { port: ports[0] ?? 0, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The worker's end: answers the parent, and asks it for the metrics of all. */
export function connectToParent(metricsAsJson: () => Promise<object[]>): {
  gatherMetrics: () => Promise<string>;
} {
  const pending = new Map<number, (text: string) => void>();
  let nextId = 0;
  process.on('message', (message: Message) => {
    if (message.type === 'gathered') {
      pending.get(message.id)?.(message.text);
      pending.delete(message.id);
    } else if (message.type === 'collect') {
      void metricsAsJson().then((metrics) => {
        if (process.connected) process.send?.({ type: 'collected', id: message.id, metrics });
      });
    }
  });
  return {
    gatherMetrics: () =>
      new Promise((resolve) => {
        const id = nextId++;
        pending.set(id, resolve);
        process.send?.({ type: 'gather', id });
      }),
  };
}
