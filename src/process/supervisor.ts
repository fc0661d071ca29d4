/** Runs the processes of `millrace start`: starts them, starts again the ones that die, stops them in order. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../errors.ts';
import { endChild } from './end-child.ts';
import { childFlags } from './node-flags.ts';

const firstRestartMs = 500;
const mostRestartMs = 15_000;
/** A process that ran this long counts as healthy: its next restart is quick again. */
const healthyMs = 60_000;

/** A supervised process. */
export interface Supervised {
  /** Resolves when it serves; rejects with its exit code when it ends before. It has said why by then. */
  readonly ready: Promise<void>;
  /** From now on its end is no surprise: it is not started again. */
  expectEnd(): void;
  /** Stops it, ready or not; resolves when it has exited. */
  stop(): Promise<void>;
}

/** How to run a process. */
export interface ProcessOptions {
  /** Command of this program that it stands for, as `collect`. */
  readonly command: string;
  /** Starts it, with a channel on which it says that it serves. */
  readonly start: () => Promise<ChildProcess>;
  readonly log: Logger;
  /** After SIGTERM, milliseconds until SIGKILL. */
  readonly stopTimeoutMs: number;
}

/** A process that ended before it served. */
class EndedError extends OperatorError {}

/**
 * Starts a command of this program, in a session of its own: Ctrl-C reaches only the supervisor, which stops its
 * processes in order.
 */
export async function forkCommand(command: string, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  return fork(process.argv[1] ?? '', [command], {
    env,
    execArgv: childFlags(),
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}

/** Starts a process. Once it was ready, it is started again whenever it dies. */
export function supervise(options: ProcessOptions): Supervised {
  const { command, start, log, stopTimeoutMs } = options;
  let isStopping = false;
  let child: ChildProcess | undefined;
  let isReady = false;
  let restartMs = firstRestartMs;
  let restartTimer: NodeJS.Timeout | undefined;

  async function launch(): Promise<void> {
    const startedAt = performance.now();
    const started = await start();
    child = started;
    // Stopped while it was being started.
    if (isStopping) await endChild(started, { isReady: false, timeoutMs: stopTimeoutMs });
    return new Promise((resolve, reject) => {
      started.on('message', (message: { readonly type?: string }) => {
        if (message.type !== 'ready') return;
        isReady = true;
        resolve();
      });
      started.once('exit', (code, signal) => {
        const reason = signal ?? `exit code ${code}`;
        reject(new EndedError(`'millrace ${command}' could not start (${reason})`, toExitCode(code)));
        if (isStopping || !isReady) return;
        if (performance.now() - startedAt > healthyMs) restartMs = firstRestartMs;
        log.error(`'millrace ${command}' ended (${reason}); starting it again in ${restartMs} ms`);
        restart();
      });
    });
  }

  function restart(): void {
    restartTimer = setTimeout(() => {
      launch().catch((error) => {
        // One that was started and ended is started again by its end.
        if (isStopping || error instanceof EndedError) return;
        log.error({ err: error }, `'millrace ${command}' could not be started again`);
        restart();
      });
    }, restartMs);
    restartMs = Math.min(restartMs * 2, mostRestartMs);
  }

  const ready = launch();
  ready.catch(() => {});
  function expectEnd(): void {
    isStopping = true;
    clearTimeout(restartTimer);
  }
  return {
    ready,
    expectEnd,
    async stop() {
      expectEnd();
      if (child !== undefined) await endChild(child, { isReady, timeoutMs: stopTimeoutMs });
    },
  };
}

function toExitCode(code: number | null) {
  return (
    Object.values(exitCodes).find((known) => known === code && known !== exitCodes.ok) ?? exitCodes.failure
  );
}
