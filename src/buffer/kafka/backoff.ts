/** Waiting between tries: longer each time, with jitter, so that many clients do not come back at once. */

/** Milliseconds to wait before try number `attempt` (from 0): between a half and all of 50 ms doubled each time, at most `maxMs`. */
export function backoffMs(attempt: number, maxMs = 2000): number {
  const ceiling = Math.min(maxMs, 50 * 2 ** Math.min(attempt, 16));
  return ceiling * (0.5 + Math.random() / 2);
}

/** Settles as `promise` does, but rejects with the signal's reason when that aborts first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
