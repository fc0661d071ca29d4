/** Runs the processes of `millrace start`: starts them, starts again the ones that die, stops them in order. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../errors.ts';

const firstRestartMs = 500;
const mostRestartMs = 15_000;
/** A process that ran this long counts as healthy: its next restart is quick again. */
const healthyMs = 60_000;

/** A supervised process. */
export interface Supervised {
  /** What it told when it was ready. */
  readonly port: number | undefined;
  /** Stops it; resolves when it has exited. */
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

/**
 * Starts a process and waits until it is ready. From then on it is started again whenever it dies.
 * @throws OperatorError with its exit code when it ends before it is ready; it has said why by then
 */
export async function supervise(options: ProcessOptions): Promise<Supervised> {
  const { command, env, log, stopTimeoutMs } = options;
  let isStopping = false;
  let child: ChildProcess;
  let restartMs = firstRestartMs;
  let restartTimer: NodeJS.Timeout | undefined;

  function launch(): Promise<number | undefined> {
    const startedAt = Date.now();
    // In a session of its own, so that Ctrl-C reaches only the supervisor, which stops them in order.
    const started = fork(process.argv[1] ?? '', [command], {
      env,
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child = started;
    return new Promise((resolve, reject) => {
      started.on('message', (message: { readonly type?: string; readonly port?: number }) => {
        if (message.type === 'ready') resolve(message.port);
      });
      started.once('exit', (code, signal) => {
        const reason = signal ?? `exit code ${code}`;
        reject(new OperatorError(`'millrace ${command}' could not start (${reason})`, toExitCode(code)));
        if (isStopping || !isSupervised) return;
        if (Date.now() - startedAt > healthyMs) restartMs = firstRestartMs;
        log.error(`'millrace ${command}' ended (${reason}); starting it again in ${restartMs} ms`);
        restartTimer = setTimeout(() => void launch().catch(() => {}), restartMs);
        restartMs = Math.min(restartMs * 2, mostRestartMs);
      });
    });
  }

  let isSupervised = false;
  const port = await launch();
  isSupervised = true;
  return {
    port,
    async stop() {
      isStopping = true;
      clearTimeout(restartTimer);
      await end(child, stopTimeoutMs);
    },
  };
}

function end(child: ChildProcess, timeoutMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function toExitCode(code: number | null) {
  return (
    Object.values(exitCodes).find((known) => known === code && known !== exitCodes.ok) ?? exitCodes.failure
  );
}
