/** Starts the embedded ClickHouse in a child process, from the built program. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A running embedded ClickHouse. */
export interface TestEngine {
  readonly url: string;
  readonly dataDir: string;
  readonly process: ChildProcess;
  /** Stops it, with SIGTERM unless told otherwise, and keeps its data. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Stops it and removes its data. */
  dispose(): Promise<void>;
}

/** How to start it. Without a directory, a new one; without a port, any free one. */
export interface TestEngineOptions {
  readonly dataDir?: string;
  readonly port?: number;
  readonly password?: string;
  /** Variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

type Message = { type: 'ready'; url: string } | { type: 'failed'; message: string; exitCode: number };

/**
 * Starts it and waits until it answers.
 * @throws Error with the message and the `exitCode` that a user would see
 */
export async function startTestEngine(options: TestEngineOptions = {}): Promise<TestEngine> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'millrace-engine-')));
  const script = fileURLToPath(new URL('./engine-process.mjs', import.meta.url));
  const child = fork(script, [dataDir, String(options.port ?? 0), options.password ?? ''], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, ...options.env },
    execArgv: [],
  });
  const exited = once(child, 'exit');
  const gone = exited.then((): [Message] => [{ type: 'failed', message: 'it ended', exitCode: 1 }]);
  const [message] = (await Promise.race([once(child, 'message'), gone])) as [Message];
  if (message.type === 'failed') {
    await exited;
    if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    throw Object.assign(new Error(message.message), { exitCode: message.exitCode });
  }
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    await exited;
  };
  return {
    url: message.url,
    dataDir,
    process: child,
    stop,
    async dispose() {
      await stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
