/** Streamed queries, each opened on a thread of its own: stream-worker.ts says why. */
import { Worker } from 'node:worker_threads';
import type { StreamChunk } from './binding.ts';
import type { StreamAnswer, StreamRequest } from './stream-worker.ts';

/** A query whose result is read piece by piece. */
export interface OpenStream {
  /** The next piece. */
  fetch(): Promise<StreamChunk>;
  /** Cancels the query, if it still runs. */
  close(): Promise<void>;
}

/** What a stream is opened with: statements that prepare its connection, the query, and the format of the result. */
interface StreamQuery {
  readonly scope: string;
  readonly sql: string;
  readonly format: string;
}

/** Runs a call when its turn comes. */
type InTurn = <T>(call: () => Promise<T>) => Promise<T>;

interface Thread {
  readonly worker: Worker;
  /** Whether it has a stream: opening a second one would keep the first one waiting. */
  isBusy: boolean;
}

interface Waiting {
  readonly resolve: (answer: StreamAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** Streams at once, each with a thread; `max_concurrent_queries` of a ClickHouse server is 100. */
export const maxStreams = 24;

/** As many threads as there ever were streams at once. */
export class Streams {
  readonly #path: string;
  readonly #threads: Thread[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;

  /** @param path the engine's data */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Opens a stream. Whoever calls sees to it that there are at most {@link maxStreams}.
   * @param inTurn runs the call that opens it when the engine has room
   * @throws Error with the engine's message
   */
  async open(query: StreamQuery, inTurn: InTurn): Promise<OpenStream> {
    const thread = this.#threads.find(({ isBusy }) => !isBusy) ?? this.#start();
    thread.isBusy = true;
    this.#count += 1;
    const id = this.#count;
    try {
      await inTurn(() => this.#ask(thread, { id, kind: 'open', ...query }));
    } catch (thrown) {
      thread.isBusy = false;
      throw thrown;
    }
    return {
      fetch: async () => {
        const answer = await this.#ask(thread, { id, kind: 'fetch' });
        if (answer.kind !== 'chunk') throw new Error(`unexpected answer ${answer.kind}`);
        return answer;
      },
      close: async () => {
        await this.#ask(thread, { id, kind: 'close' });
        thread.isBusy = false;
      },
    };
  }

  #start(): Thread {
    const worker = new Worker(new URL('./stream-worker.js', import.meta.url), {
      workerData: { path: this.#path },
    });
    const thread: Thread = { worker, isBusy: false };
    worker.on('message', (answer: StreamAnswer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.kind === 'failed') waiting?.reject(new Error(answer.message));
      else waiting?.resolve(answer);
    });
    // It cannot go on without this thread: calls of the others would hang.
    worker.on('error', (error) => {
      throw error;
    });
    worker.unref();
    this.#threads.push(thread);
    return thread;
  }

  /** A stream is asked for one thing at a time. */
  #ask({ worker }: Thread, request: StreamRequest): Promise<StreamAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      worker.postMessage(request);
    });
  }
}
