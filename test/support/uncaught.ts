/** What would end a program, where it would end the tests. */
import { setImmediate as turn } from 'node:timers/promises';

/** Runs `work`; gives the errors that nobody caught until then. */
export async function catchUncaught(work: () => Promise<unknown>): Promise<unknown[]> {
  const listeners = process.listeners('uncaughtException');
  const errors: unknown[] = [];
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => errors.push(error));
  try {
    await work();
    await turn();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
  }
  return errors;
}
