/** How every long-running command starts and stops. */
import closeWithGrace from 'close-with-grace';
import type { Logger } from 'pino';
import { exitCodes, messageOf } from '../errors.ts';
import { flushReports } from '../logger.ts';

/** Asked when the process begins: the parent may be gone by the time that it serves. */
const isSupervised = process.send !== undefined;

/**
 * Faults of native code. They end the process, and whoever watches over it starts it again: with a handler in
 * JavaScript the faulty instruction is repeated for ever.
 */
const faultSignals = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'] as const;

/** Tells a supervising parent (`start`, or the parent of the workers) that this process serves. */
export function announceReady(details: Record<string, unknown> = {}): void {
  if (process.connected) process.send?.({ type: 'ready', ...details });
}

/** Why a process stops. */
export interface StopReason {
  /** An uncaught error: the process must end soon. */
  readonly isFault: boolean;
}

/**
 * Ends the process in order: on SIGTERM, SIGINT, an uncaught error, or the parent's death, `stop` runs once,
 * within `timeoutMs`. A second signal exits at once. Never returns: the process exits with 0, or with 1 when
 * it stopped because of an error or too late.
 */
export function stopGracefully(
  stop: (reason: StopReason) => Promise<void>,
  options: { log: Logger; timeoutMs: number },
): void {
  const { log, timeoutMs } = options;
  let isClosing = false;
  const how = { delay: timeoutMs, logger: false, skip: [...faultSignals] } satisfies closeWithGrace.Options;
  const { close } = closeWithGrace(how, async ({ signal, err }) => {
    isClosing = true;
    if (err !== undefined) {
      log.fatal({ err }, `stopping: ${messageOf(err)}`);
      process.exitCode = exitCodes.failure;
    } else {
      log.info(`stopping: ${signal ?? 'parent is gone'}`);
    }
    await stop({ isFault: err !== undefined });
    log.info('stopped');
    await flushReports(log);
  });
  if (!isSupervised) return;
  const closeOnce = (): void => {
    if (!isClosing) void close();
  };
  if (process.connected) process.once('disconnect', closeOnce);
  else closeOnce();
}
