/**
 * Runs child processes of this program: starts them, starts again the ones that die, stops them in order.
 *
 * Parent and child may end at any moment. A message to a side that has ended must not take this one along: `send`
 * without a callback ends the process by an uncaught error.
 *
 * What this program asks of Node.js in every process of its own.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from 'pino';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { backOffMs } from '../time.ts';

const restartLimits = { firstMs: 1_000, mostMs: 15_000 };
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
interface ReadyMessage {
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
  /** Ends in a row, each soon after its start. */
  let failures = 0;
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
        if (performance.now() - startedAt > healthyMs) failures = 0;
        const waitMs = restart();
        log.error(`'millrace ${command}' ended (${reason}); starting it again in ${waitMs} ms`);
      });
    });
    // Stopped while it was being started.
    if (isStopping) await endChild(started, { isReady: false, timeoutMs: stopTimeoutMs });
    return await served;
  }

  /** Starts it again after a while. @returns how long that is, milliseconds */
  function restart(): number {
    const waitMs = Math.round(backOffMs(failures++, restartLimits));
    restartTimer = setTimeout(() => {
      launch().catch((error) => {
        // One that was started and ended is started again by its end.
        if (isStopping || error instanceof EndedError) return;
        log.error({ err: error }, `'millrace ${command}' could not be started again`);
        restart();
      });
    }, waitMs);
    return waitMs;
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

/** How to end a child. */
interface EndOptions {
  /** Whether it serves; one that still starts has nothing to finish. */
  readonly isReady: boolean;
  /** Milliseconds until SIGKILL; without it, the child's own limit for stopping counts. */
  readonly timeoutMs?: number | undefined;
  /** When it aborts, or has, the child must end soon. */
  readonly hurry?: AbortSignal | undefined;
}

/**
 * Ends a child process; resolves when it has exited. One that serves is told by a message: a signal would be its second
 * one, and end it at once, where the whole process group was signalled, as service managers do. The channel stays open,
 * so that both can talk while the child drains; to cut it is to say that nobody waits for that.
 */
export function endChild(child: ChildProcess, { isReady, timeoutMs, hurry }: EndOptions): Promise<void> {
  // Without a process id it was never there, and will not exit.
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve();
  return new Promise((resolve) => {
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const cut = (): void => {
      if (child.connected) child.disconnect();
    };
    child.once('exit', () => {
      clearTimeout(timer);
      hurry?.removeEventListener('abort', cut);
      resolve();
    });
    const signal = (): unknown => child.kill('SIGTERM');
    hurry?.addEventListener('abort', cut);
    if (isReady && hurry?.aborted === true && child.connected) cut();
    else if (isReady) tell(child, stopMessage, signal);
    else signal();
  });
}

/** What a parent sends to a child that serves, to stop it in order. */
export const stopMessage = { type: 'stop' } as const;

/** One end of a channel: a child process, or `process` itself in a child. */
export interface ChannelEnd {
  readonly connected: boolean;
  send?(message: object, callback: (error: Error | null) => void): boolean;
}

/**
 * Sends a message. It may get lost: the other side is ending then, which its `exit` or `disconnect` event tells.
 * @param onLost called at most once, when it is known that the message was not sent
 */
export function tell(peer: ChannelEnd, message: object, onLost: () => void = () => undefined): void {
  if (!peer.connected || peer.send === undefined) {
    onLost();
    return;
  }
  peer.send(message, (error) => {
    if (error !== null) onLost();
  });
}

/**
 * Almost nothing survives a request, so a small space for new objects (MiB) costs no time and saves memory: 14 MiB on
 * Node.js 20, more on 24.
 */
export const nodeFlags = ['--max-semi-space-size=8'];

/** The flags for a child process: those of this one, and {@link nodeFlags} where nobody has said otherwise. */
export function childFlags({ execArgv, env }: Pick<NodeJS.Process, 'execArgv' | 'env'> = process): string[] {
  const isChosen = [...execArgv, env.NODE_OPTIONS ?? ''].some((text) => /max[-_]semi[-_]space/.test(text));
  return isChosen ? execArgv : [...execArgv, ...nodeFlags];
}

/**
 * The flags for a process that is shut in: V8's limits, of those of this one, and {@link nodeFlags}. Others may name
 * files that are not there for it, as debuggers and tracers do with `--require`, or open a port.
 */
export function confinedFlags({
  execArgv,
  env,
}: Pick<NodeJS.Process, 'execArgv' | 'env'> = process): string[] {
  const ownFlags = [env.NODE_OPTIONS ?? '', ...execArgv].join(' ');
  return [...nodeFlags, ...(ownFlags.match(/(?<![^\s"'])--max[-_][\w-]+=\d+(?![^\s"'])/g) ?? [])];
}
