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
  /** Command of this program, as `collect`. */
  readonly command: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  /** After SIGTERM, milliseconds until SIGKILL. */
  readonly stopTimeoutMs: number;
}

/** Starts a process. Once it was ready, it is started again whenever it dies. */
export function supervise(options: ProcessOptions): Supervised {
  const { command, env, log, stopTimeoutMs } = options;
  let isStopping = false;
  let child: ChildProcess | undefined;
  let isReady = false;
  let restartMs = firstRestartMs;
  let restartTimer: NodeJS.Timeout | undefined;

  function launch(): Promise<void> {
    const startedAt = Date.now();
    // In a session of its own, so that Ctrl-C reaches only the supervisor, which stops them in order.
    const started = fork(process.argv[1] ?? '', [command], {
      env,
      execArgv: childFlags(),
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child = started;
    return new Promise((resolve, reject) => {
      started.on('message', (message: { readonly type?: string }) => {
        if (message.type !== 'ready') return;
        isReady = true;
        resolve();
      });
      started.once('exit', (code, signal) => {
        const reason = signal ?? `exit code ${code}`;
        reject(new OperatorError(`'millrace ${command}' could not start (${reason})`, toExitCode(code)));
        if (isStopping || !isReady) return;
        if (Date.now() - startedAt > healthyMs) restartMs = firstRestartMs;
        log.error(`'millrace ${command}' ended (${reason}); starting it again in ${restartMs} ms`);
        restartTimer = setTimeout(() => void launch().catch(() => {}), restartMs);
        restartMs = Math.min(restartMs * 2, mostRestartMs);
      });
    });
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
