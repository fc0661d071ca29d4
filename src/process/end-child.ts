import type { ChildProcess } from 'node:child_process';
import { stopMessage, tell } from './channel.ts';

/** How to end a child. */
export interface EndOptions {
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
