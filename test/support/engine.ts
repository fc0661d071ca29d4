/** Starts the embedded ClickHouse in a child process, from the built program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
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
  /** The owner's password; the reader's is this and `-reader`. Without it nobody needs one. */
  readonly password?: string;
  /** Databases that the users have rights in, beside `default`. Without it those that tests make up names for. */
  readonly databases?: readonly string[];
  /** More names by which it is called, and pages that may use it. */
  readonly hosts?: readonly string[];
  readonly origins?: readonly string[];
  /** How long a body may pause, milliseconds. */
  readonly stalledBodyMs?: number;
  /** A command that runs it, as strace with its options. */
  readonly runner?: readonly [string, ...string[]];
  /** Variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Tests that share an engine have a database each, with a name of its own: `d7`, `v<hex>`. */
const testDatabases = ['b*', 'd*', 't*', 'v*'];

type Message = { type: 'ready'; url: string } | { type: 'failed'; message: string; exitCode: number };

/**
 * Starts it and waits until it answers.
 * @throws Error with the message and the `exitCode` that a user would see
 */
export async function startTestEngine(options: TestEngineOptions = {}): Promise<TestEngine> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'millrace-engine-')));
  const script = fileURLToPath(new URL('./engine-process.mjs', import.meta.url));
  const { password, databases = testDatabases, hosts, origins, stalledBodyMs, runner } = options;
  const accounts = accountsOf(password);
  const settings = JSON.stringify({ accounts, databases, hosts, origins, stalledBodyMs });
  const [file, ...args] = [
    ...(runner ?? []),
    process.execPath,
    script,
    dataDir,
    String(options.port ?? 0),
    settings,
  ];
  const child = spawn(file as string, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '13', ...options.env },
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
    // A program that watches it does not hand signals on.
    if (runner !== undefined && signal === 'SIGTERM') child.disconnect();
    else child.kill(signal);
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

function accountsOf(password: string | undefined) {
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  const lock = (suffix: string) => (password === undefined ? {} : { passwordHash: hash(password + suffix) });
  return [
    { role: 'owner', user: 'default', isGenerated: false, ...lock('') },
    { role: 'reader', user: 'reader', isGenerated: false, ...lock('-reader') },
  ];
}
