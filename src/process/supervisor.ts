/** Runs child processes of this program: starts them, starts again the ones that die, stops them in order. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from 'pino';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { endChild } from './end-child.ts';
import { childFlags } from './node-flags.ts';

const firstRestartMs = 500;
const mostRestartMs = 15_000;
/** A process that ran this long counts as healthy: its next restart is quick again. */
const healthyMs = 60_000;

/** A supervised process. */
export interface Supervised {
  /**
   * Resolves with its message when it serves for the first time; rejects with its exit code when it ends before. It has
   * said why by then.
   */
  readonly ready: Promise<ReadyMessage>;
  /** From now on its end is no surprise: it is not started again. */
  expectEnd(): void;
  /** Stops it, ready or not; resolves when it has exited. It does not drain at leisure once `hurry` aborts. */
  stop(hurry?: AbortSignal): Promise<void>;
}

/** What a process says when it serves. */
export interface ReadyMessage {
  readonly type: 'ready';
  /** Port that it listens on, where it has one. */
  readonly port?: number;
}

/** How to run a process. */
export interface ProcessOptions {
  /** Command of this program that it stands for, as `collect`. */
  readonly command: string;
  /** Starts it, with a channel on which it says that it serves. It must be heard for errors when this returns. */
  readonly start: () => ChildProcess | Promise<ChildProcess>;
  readonly log: Logger;
  /** After it was told to stop, milliseconds until SIGKILL; undefined: it has a limit of its own. */
  readonly stopTimeoutMs?: number | undefined;
  /** Told of each process when it was started. */
  readonly started?: (child: ChildProcess) => void;
  /** Told of each process when it has ended. */
  readonly ended?: (child: ChildProcess) => void;
}

/** A process that ended before it served. */
class EndedError extends OperatorError {}

/**
 * Starts this program with these arguments, in a session of its own: Ctrl-C reaches only the supervisor, which stops its
 * processes in order.
 */
export function forkProgram(args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  const child = fork(process.argv[1] ?? '', args, {
    env,
    execArgv: childFlags(),
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  // One that cannot be started says so before anybody else can listen, and nobody listening ends this process.
  child.on('error', () => undefined);
  return child;
}

/** Starts a process. Once one was ready, it is started again whenever it dies. */
export function supervise(options: ProcessOptions): Supervised {
  const { command, start, log, stopTimeoutMs } = options;
  let isStopping = false;
  let child: ChildProcess | undefined;
  /** Whether `child` serves. */
  let isReady = false;
  /** Whether any has served: before that, its end is the end of the attempt. */
  let hasServed = false;
  let restartMs = firstRestartMs;
  let restartTimer: NodeJS.Timeout | undefined;

  async function launch(): Promise<ReadyMessage> {
    const startedAt = performance.now();
    isReady = false;
    const started = await start();
    child = started;
    started.on('error', (err) => log.error({ err }, `'millrace ${command}': ${messageOf(err)}`));
    if (started.pid === undefined) {
      throw new OperatorError(`'millrace ${command}' could not be started`, exitCodes.unavailable);
    }
    options.started?.(started);
    const served = new Promise<ReadyMessage>((resolve, reject) => {
      started.on('message', (message: ReadyMessage | { readonly type: 'other' }) => {
        if (message.type !== 'ready') return;
        isReady = true;
        hasServed = true;
        resolve(message);
      });
      started.once('exit', (code, signal) => {
        const reason = signal ?? `exit code ${code}`;
        options.ended?.(started);
        reject(new EndedError(`'millrace ${command}' could not start (${reason})`, toExitCode(code)));
        if (isStopping || !hasServed) return;
        if (performance.now() - startedAt > healthyMs) restartMs = firstRestartMs;
        log.error(`'millrace ${command}' ended (${reason}); starting it again in ${restartMs} ms`);
        restart();
      });
    });
    // Stopped while it was being started.
    if (isStopping) await endChild(started, { isReady: false, timeoutMs: stopTimeoutMs });
    return await served;
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
    async stop(hurry) {
      expectEnd();
      if (child !== undefined) await endChild(child, { isReady, timeoutMs: stopTimeoutMs, hurry });
    },
  };
}

function toExitCode(code: number | null) {
  return (
    Object.values(exitCodes).find((known) => known === code && known !== exitCodes.ok) ?? exitCodes.failure
  );
}
