/** The thread of a load run: nothing else runs on it. Started by run-load.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { findEndpoint } from './endpoint.ts';
import { generateLoad } from './generator.ts';
import { type FromLoadThread, type LoadTask, packResult, unpackRequests } from './load.ts';
import { parseProfile } from './profile.ts';

const stop = new AbortController();
// Once: with a listener the thread would never end.
parentPort?.once('message', () => stop.abort());

function send(message: FromLoadThread): void {
  parentPort?.postMessage(message);
}

async function run(task: LoadTask): Promise<void> {
  const { checksCertificate, answerTimeoutMs: timeoutMs } = task;
  const endpoint = await findEndpoint(new URL(task.url), { checksCertificate, timeoutMs });
  const result = await generateLoad({
    ...task,
    endpoint,
    profile: parseProfile(task.profile),
    requests: unpackRequests(task),
    stop: stop.signal,
    onStopping: (requests) => send({ type: 'stopping', requests }),
    onSecond: (second) => send({ type: 'second', second }),
  });
  send({ type: 'end', result: packResult(result) });
}

try {
  await run(workerData as LoadTask);
} catch (error) {
  const exitCode = error instanceof OperatorError ? error.exitCode : exitCodes.failure;
  send({ type: 'failed', message: messageOf(error), exitCode });
}
parentPort?.close();
