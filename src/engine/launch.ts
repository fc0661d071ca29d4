/** Starts the embedded ClickHouse as a process of its own, in a sandbox, with nothing of this one's but a socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { confinedFlags } from '../process/children.ts';
import { nodePaths, type Sandbox } from '../process/sandbox.ts';
import { type EngineFiles, prepareFiles } from './access.ts';
import type { Account } from './auth.ts';
import { cannotListen } from './error.ts';

/** How to start it. */
interface LaunchOptions {
  readonly dataDir: string;
  /** Databases that its users have rights in, beside `default`. */
  readonly databases: readonly string[];
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly accounts: readonly Account[];
  /** More names by which it is called. */
  readonly hosts: readonly string[];
  /** Pages that may use it. */
  readonly origins: readonly string[];
  readonly logLevel: string;
  /** How long stopping may take, milliseconds; then the process kills itself, which loses nothing that was answered. */
  readonly stopTimeoutMs: number;
  readonly sandbox: Sandbox;
}

/** What the process is told as its first message, beside its socket. */
export interface ProcessOrders extends Omit<LaunchOptions, 'dataDir' | 'databases' | 'sandbox'> {
  readonly files: EngineFiles;
}

/** Threads of Node's pool: each call of the engine occupies one for as long as it runs. */
const poolThreads = 13;

/** Variables that the process gets. Others may hold secrets, which it has no use for. */
const neededVariables = ['TZ', 'LANG', 'LC_ALL'] as const;

/**
 * Starts the process. The socket is opened here, where there is a network, and handed over: connections wait until the
 * engine takes them. It sends `{type: 'booted'}` when it can take the socket, `{type: 'ready'}` when it serves, and ends when its channel is cut.
 * @throws OperatorError exit 69 when the port is in use or the data directory cannot be used
 */
export async function launchEngine(options: LaunchOptions): Promise<ChildProcess> {
  const { dataDir, databases, sandbox, ...rest } = options;
  const files = await prepareFiles(dataDir, databases);
  const listener = await listen(options);
  const address = listener.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  const main = fileURLToPath(new URL('./process.js', import.meta.url));
  const allowance = {
    read: [...nodePaths(), ...programPaths(), files.config, files.users],
    write: [files.data, files.inserts, files.backups],
  };
  const [file, ...args] = sandbox.wrap([process.execPath, ...confinedFlags(), main], allowance);
  const variables = neededVariables.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const child = spawn(file, args, {
    env: {
      ...Object.fromEntries(variables),
      PATH: process.env.PATH,
      UV_THREADPOOL_SIZE: String(poolThreads),
    },
    // In a session of its own, so that Ctrl-C reaches only whoever watches over it.
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const orders: ProcessOrders = { ...rest, port, files };
  child.once('error', () => listener.close());
  // Handed over before somebody there listens for it, the socket would take connections that nobody ever answers.
  child.once('message', () => child.send(orders, listener, () => listener.close()));
  return child;
}

/** The program and what it imports. Not the directory that it is in: that of a clone has the data, too. */
function programPaths(): string[] {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const paths = [join(root, 'dist'), join(root, 'package.json')];
  for (let at = root; at !== dirname(at); at = dirname(at)) paths.push(join(at, 'node_modules'));
  return paths.filter((path) => existsSync(path));
}

async function listen({ host, port }: LaunchOptions): Promise<Server> {
  const server = createServer({ pauseOnConnect: true }, (socket) => socket.destroy());
  server.listen({ host, port });
  await once(server, 'listening').catch((cause) => {
    throw cannotListen({ host, port }, cause);
  });
  return server;
}
