/** The process of the embedded ClickHouse: it does what its first message says, until its channel is cut. */
import { readdirSync } from 'node:fs';
import type { Server } from 'node:net';
import { constants, getPriority, setPriority } from 'node:os';
import type { Logger } from 'pino';
import { messageOf, OperatorError } from '../errors.ts';
import { createLogger } from '../logger.ts';
import { announceReady, stopGracefully } from '../process/lifecycle.ts';
import type { ProcessOrders } from './launch.ts';
import { type HeldListener, holdConnections, startEngine } from './server.ts';

/** A tenth of the CPU is still the engine's when others want it all (Linux, sched(7)). */
const engineNice = constants.priority.PRIORITY_BELOW_NORMAL;

/** Queries may run for this part of the time that stopping may take; then they are cancelled. */
const patience = 0.5;

process.once('message', (orders: ProcessOrders, listener?: Server) => {
  run(orders, listener && holdConnections(listener)).catch((error) => {
    if (!(error instanceof OperatorError)) throw error;
    process.stderr.write(`millrace: ${error.message}\n`);
    process.exit(error.exitCode);
  });
});

process.send?.({ type: 'booted' });

async function run(orders: ProcessOrders, listener: HeldListener | undefined): Promise<void> {
  const { stopTimeoutMs, logLevel, ...options } = orders;
  const log = createLogger('clickhouse', logLevel);
  yieldToOthers(log);
  const started = performance.now();
  const engine = await startEngine({ ...options, listener, log });
  const startMs = Math.round(performance.now() - started);
  stopGracefully(
    () => {
      // Native code that still runs would keep an exit waiting; what was answered is on disk.
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), stopTimeoutMs);
      return engine.close(stopTimeoutMs * patience);
    },
    { log, timeoutMs: 2 * stopTimeoutMs },
  );
  log.info({ url: engine.url, version: engine.version, startMs }, 'clickhouse is ready');
  announceReady({ url: engine.url, version: engine.version });
}

/** Rows can wait, requests cannot: a collector on the same machine goes first. */
function yieldToOthers(log: Logger): void {
  try {
    for (const thread of ownThreads()) if (getPriority(thread) < engineNice) setPriority(thread, engineNice);
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'the priority of the embedded ClickHouse could not be lowered');
  }
}

/** On Linux each thread has a priority of its own and gives it to those that it starts; 0 is the whole process. */
function ownThreads(): number[] {
  return process.platform === 'linux' ? readdirSync('/proc/self/task').map(Number) : [0];
}
