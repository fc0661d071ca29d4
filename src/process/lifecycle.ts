/**
 * How every long-running command starts and stops.
 *
 * Lets a command that works for a while be stopped by Ctrl-C.
 */
import closeWithGrace from 'close-with-grace';
import type { Logger } from 'pino';
import { exitCodes, messageOf } from '../errors.ts';
import { flushReports } from '../logger.ts';
import { stopMessage, tell } from './children.ts';

/** Asked when the process begins: the parent may be gone by the time that it serves. */
const isSupervised = process.send !== undefined;

/**
 * Faults of native code. They end the process, and whoever watches over it starts it again: with a handler in
 * JavaScript the faulty instruction is repeated for ever.
 */
const faultSignals = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'] as const;

/** Signals by which people, their terminals and service managers stop a process. */
const stopSignals = ['SIGINT', 'SIGTERM'] as const;

/**
 * npm hands these signals on to what it runs (`forwardedSignals` in signal-manager.js of @npmcli/run-script), which a
 * terminal or a service manager has signalled, too: the same one again within this time is no second word. Milliseconds.
 */
const echoMs = 500;

/** How often it is looked whether the process that started this one is still there. Milliseconds. */
const parentPollMs = 500;

/** Tells a supervising parent (`start`, or the parent of the workers) that this process serves. */
export function announceReady(details: Record<string, unknown> = {}): void {
  tell(process, { type: 'ready', ...details });
}

/**
 * Ends the process when its parent goes away while it still starts: there is nothing to finish then, and what it waits
 * for may never come. From {@link stopGracefully} on the parent's end stops it in order.
 */
export function endWithParent(): void {
  if (!isSupervised) return;
  process.once('disconnect', exitAsOrphan);
  // The parent may have gone while this process loaded its modules, with nobody to hear it.
  if (!process.connected) exitAsOrphan();
}

function exitAsOrphan(): void {
  process.exit(exitCodes.failure);
}

/** How {@link stopGracefully} stops. */
interface StopOptions {
  readonly log: Logger;
  /** Stopping takes at most so long, milliseconds > 0. */
  readonly timeoutMs: number;
  /**
   * Whether npm runs this process. It repeats signals that this one had already, and may end without a word. Default: no.
   */
  readonly isBelowNpm?: boolean;
}

/**
 * Ends the process in order: on SIGTERM, SIGINT, an uncaught error, the parent's word, or its death, `stop` runs once,
 * within `timeoutMs`. Its signal aborts when the process must end soon: after an uncaught error, and once nobody watches
 * over it any more. A second signal of the system exits at once. The process exits with 0, or with 1 when it stopped
 * because of an error or too late.
 */
export function stopGracefully(
  stop: (hurry: AbortSignal) => Promise<void>,
  { log, timeoutMs, isBelowNpm = false }: StopOptions,
): void {
  let reason = 'there is no work left';
  /** What it stops for; undefined while it does not. */
  let closing: { readonly signal: string | undefined; readonly at: number } | undefined;
  const hurry = new AbortController();
  const how = {
    delay: timeoutMs,
    logger: false,
    skip: [...faultSignals, ...stopSignals],
    // The process exits behind each of these: without a line nobody would know why.
    onSecondError: (err) => log.fatal({ err }, `an error while stopping, exiting at once: ${messageOf(err)}`),
    onSecondSignal: (signal) => log.warn(`${signal} while stopping, exiting at once`),
    onTimeout: (ms) => log.error(`stopping took more than ${ms} ms, exiting at once`),
  } satisfies closeWithGrace.Options;
  const { close } = closeWithGrace(how, async ({ signal, err }) => {
    closing ??= { signal, at: performance.now() };
    if (err !== undefined) {
      log.fatal({ err }, `stopping: ${messageOf(err)}`);
      process.exitCode = exitCodes.failure;
      hurry.abort();
    } else {
      log.info(`stopping: ${signal ?? reason}`);
    }
    try {
      await stop(hurry.signal);
    } catch (error) {
      log.fatal({ err: error }, `could not stop in order: ${messageOf(error)}`);
      throw error;
    }
    log.info('stopped');
    await flushReports(log);
  });
  const closeFor = (why: string, signal?: string): void => {
    if (closing !== undefined) return;
    reason = why;
    closing = { signal, at: performance.now() };
    void close();
  };
  for (const signal of stopSignals) {
    process.on(signal, () => {
      if (closing === undefined) closeFor(signal, signal);
      else if (!isBelowNpm || signal !== closing.signal || performance.now() - closing.at > echoMs) {
        how.onSecondSignal(signal);
        process.exit(exitCodes.failure);
      }
    });
  }
  const closeAsOrphan = (): void => {
    hurry.abort();
    closeFor('parent is gone');
  };
  if (isBelowNpm) watchParent(closeAsOrphan);
  if (!isSupervised) return;
  process.off('disconnect', exitAsOrphan);
  process.on('message', (message: { readonly type?: unknown } | null) => {
    if (message?.type === stopMessage.type) closeFor('told by the parent');
  });
  if (process.connected) process.once('disconnect', closeAsOrphan);
  else closeAsOrphan();
}

/** Calls `onGone` once, when this process gets another parent: the system gives one to a process whose own has ended. */
function watchParent(onGone: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onGone();
  }, parentPollMs);
  timer.unref();
}

/** Aborts with the first SIGINT or SIGTERM; a second one ends the process, as it does without a handler. */
export function listenForStop(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const stop = () => {
    controller.abort();
    release();
  };
  const release = () => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return { signal: controller.signal, release };
}
