/**
 * A thread that opens streamed queries. The engine analyses such a query within the call that opens it, and a scalar
 * subquery runs while it is analysed: on the thread of the HTTP interface nothing else would be answered meanwhile.
 *
 * It never ends by itself: after a thread that used the engine is gone, calls of other threads hang (seen with chDB
 * 3.4.0, engine 26.7.2).
 */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { type Connection, loadBinding, type StreamHandle } from './binding.ts';

/** What the thread is asked: to open a stream, for its next piece, or to end it. */
export type StreamRequest =
  | {
      readonly id: number;
      readonly kind: 'open';
      /** Statements that prepare the connection, or an empty text. */
      readonly scope: string;
      readonly sql: string;
      readonly format: string;
    }
  | { readonly id: number; readonly kind: 'fetch' | 'close' };

/** Its answer to each. */
export type StreamAnswer =
  | { readonly id: number; readonly kind: 'opened' | 'closed' }
  | {
      readonly id: number;
      readonly kind: 'chunk';
      readonly bytes: Uint8Array;
      readonly numRows: number;
      readonly done: boolean;
    }
  | { readonly id: number; readonly kind: 'failed'; readonly message: string };

interface Open {
  readonly connection: Connection;
  readonly stream: StreamHandle;
}

const { path } = workerData as { readonly path: string };
const binding = loadBinding();
const streams = new Map<number, Open>();

parentPort?.on('message', (request: StreamRequest) => {
  answer(request).then(
    (reply) => parentPort?.postMessage(reply),
    (thrown) => {
      const message = messageOf(thrown);
      parentPort?.postMessage({ id: request.id, kind: 'failed', message } satisfies StreamAnswer);
    },
  );
});

async function answer(request: StreamRequest): Promise<StreamAnswer> {
  const { id, kind } = request;
  if (kind === 'open') {
    await open(request);
    return { id, kind: 'opened' };
  }
  const open_ = streams.get(id);
  if (open_ === undefined) throw new Error('there is no such stream');
  if (kind === 'fetch') {
    const { bytes, numRows, done } = await binding.StreamFetch(open_.stream);
    return { id, kind: 'chunk', bytes: new Uint8Array(bytes ?? []), numRows, done };
  }
  streams.delete(id);
  binding.StreamCancel(open_.stream);
  binding.CloseConnection(open_.connection);
  return { id, kind: 'closed' };
}

async function open({ id, scope, sql, format }: StreamRequest & { readonly kind: 'open' }): Promise<void> {
  const connection = binding.CreateConnection(path, []);
  try {
    if (scope !== '') await binding.QueryAsyncConnection(connection, scope, 'Null');
    streams.set(id, { connection, stream: binding.StreamQuery(connection, sql, format) });
  } catch (thrown) {
    binding.CloseConnection(connection);
    throw thrown;
  }
}
