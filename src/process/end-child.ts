import type { ChildProcess } from 'node:child_process';

/** How to end a child. */
export interface EndOptions {
  /** Whether it serves; one that still starts has nothing to finish. */
  readonly isReady: boolean;
  /** Milliseconds until SIGKILL; without it, the child's own limit for stopping counts. */
  readonly timeoutMs?: number;
}

/**
 * Ends a child process; resolves when it has exited. One that serves is told by cutting its channel: a signal
 * would be its second one, and end it at once, where the whole process group was signalled, as service
 * managers do.
 */
export function endChild(child: ChildProcess, { isReady, timeoutMs }: EndOptions): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    if (isReady && child.connected) child.disconnect();
    else child.kill('SIGTERM');
  });
}
