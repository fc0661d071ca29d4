/** Runs a load in a thread of its own, so that nothing that the command does meanwhile delays a request. */
import { Worker } from 'node:worker_threads';
import { exitCodes, OperatorError } from '../errors.ts';
import type { LoadOptions, LoadResult } from './load.ts';
import { createTask, type FromLoadThread, unpackResult } from './load-task.ts';

/** As it is called once it is built. */
const thread = new URL('./load-worker.js', import.meta.url);

/**
 * Posts a payload as the profile says, and resolves when the last answer is there or was waited for.
 * @throws OperatorError exit 69 when the collector cannot be connected to at the start
 */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { stop, onSecond, onStopping } = options;
  const task = createTask(options);
  const worker = new Worker(thread, {
    name: 'millrace-load',
    workerData: task,
    transferList: [task.bytes.buffer],
  });
  const stopNow = () => worker.postMessage('stop');
  if (stop.aborted) stopNow();
  stop.addEventListener('abort', stopNow);
  try {
    return await new Promise<LoadResult>((resolve, reject) => {
      worker.on('message', (message: FromLoadThread) => {
        if (message.type === 'second') onSecond?.(message.second);
        else if (message.type === 'stopping') onStopping?.(message.requests);
        else if (message.type === 'end') resolve(unpackResult(message.result));
        else reject(new OperatorError(message.message, message.exitCode));
      });
      worker.once('error', reject);
      worker.once('exit', (code) =>
        reject(new OperatorError(`the thread of the load ended (${code})`, exitCodes.failure)),
      );
    });
  } finally {
    stop.removeEventListener('abort', stopNow);
    await worker.terminate();
  }
}
