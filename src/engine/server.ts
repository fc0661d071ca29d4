/** The embedded ClickHouse as a server: the engine behind an HTTP listener. */
import { createServer, type Server } from 'node:http';
import { isIP, type Server as Listener, type Socket } from 'node:net';
import type { Logger } from 'pino';
import type { EngineFiles } from './access.ts';
import { type Account, Guard } from './auth.ts';
import { InsertFiles } from './body.ts';
import { Engine } from './engine.ts';
import { cannotListen } from './error.ts';
import { handleRequest } from './handler.ts';
import type { ServerFacts } from './response.ts';
import { ownScope } from './scope.ts';

/** Where the embedded ClickHouse keeps its data, where it listens, and whom it lets in. */
interface EngineOptions {
  readonly files: EngineFiles;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** A listening socket to use in place of an own one; `host` and `port` then only say where it is. */
  readonly listener?: HeldListener | undefined;
  readonly accounts: readonly Account[];
  /** More names by which it is called: {@link DoorOptions}. */
  readonly hosts: readonly string[];
  /** Pages that may use it: {@link DoorOptions}. */
  readonly origins: readonly string[];
  /** How long a body may pause, milliseconds. 60,000 unless given. */
  readonly stalledBodyMs?: number | undefined;
  readonly log: Logger;
}

/** A socket that another process has opened, and the connections that have come before there is a server for them. */
export interface HeldListener {
  readonly socket: Listener;
  readonly early: Socket[];
}

/**
 * Holds the connections of a socket that was just handed over: from then on it takes them, and without this nobody would
 * ever answer those that come while the data is opened. To be called in the same turn.
 */
export function holdConnections(socket: Listener): HeldListener {
  const early: Socket[] = [];
  Object.assign(socket, { pauseOnConnect: true });
  socket.maxConnections = maxConnections;
  socket.on('connection', (connection) => early.push(connection));
  return { socket, early };
}

/** A running embedded ClickHouse. */
interface RunningEngine {
  /** Its HTTP interface, without a slash at the end. */
  readonly url: string;
  readonly version: string;
  /**
   * Stops accepting, finishes the queries in flight, and closes the data directory. Queries that still run after
   * `patienceMs` are cancelled.
   */
  close(patienceMs?: number): Promise<void>;
}

/**
 * Starts the embedded ClickHouse.
 * @throws OperatorError when it is not installed, or its data directory or its port is in use
 */
export async function startEngine(options: EngineOptions): Promise<RunningEngine> {
  const { files, host, hosts, origins, accounts, stalledBodyMs = 60_000, log } = options;
  const engine = Engine.open(files, log);
  try {
    const insertFiles = await InsertFiles.open(files.inserts);
    const facts = await readFacts(engine);
    const vocabulary = await engine.readVocabulary();
    const door = { host, hosts, origins };
    const guard = new Guard(accounts);
    const context = { engine, insertFiles, facts, vocabulary, stalledBodyMs, guard, door, log };
    const requests = new Set<Promise<void>>();
    const server = createServer((request, response) => {
      const handled = handleRequest(context, request, response);
      requests.add(handled);
      void handled.finally(() => requests.delete(handled));
    });
    const port = await listen(server, options);
    return {
      url: `http://${isIP(host) === 6 ? `[${host}]` : host}:${port}`,
      version: facts.version,
      async close(patienceMs) {
        const timer =
          patienceMs === undefined
            ? undefined
            : setInterval(() => void engine.cancelAll().catch(() => {}), patienceMs);
        await closeServer(server, requests);
        await engine.close();
        clearInterval(timer);
      },
    };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

async function readFacts(engine: Engine): Promise<ServerFacts> {
  const sql = 'SELECT version() AS version, timezone() AS timezone, hostName() AS hostName';
  const { bytes } = await engine.read(sql, 'JSONEachRow', ownScope);
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as ServerFacts;
}

/** More connections are closed at once: each may hold the beginning of a body. */
const maxConnections = 4_096;

/** Clients are told to drop idle connections before the server does. */
const keepAliveTimeoutMs = 30_000;

async function listen(server: Server, { host, port, listener }: EngineOptions): Promise<number> {
  server.keepAliveTimeout = keepAliveTimeoutMs;
  server.headersTimeout = 20_000;
  // A body may take any time, as long as it comes: body.ts ends one that does not.
  server.requestTimeout = 0;
  server.maxConnections = maxConnections;
  server.maxRequestsPerSocket = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (listener === undefined) server.listen({ host, port }, resolve);
    else server.listen(listener.socket, resolve);
  }).catch((cause) => {
    throw cannotListen({ host, port }, cause);
  });
  for (const connection of listener?.early.splice(0) ?? []) {
    server.emit('connection', connection);
    connection.resume();
  }
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

async function closeServer(server: Server, requests: ReadonlySet<Promise<void>>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // A connection that is kept alive becomes idle when its response has been sent.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  while (requests.size > 0) await Promise.allSettled([...requests]);
  await closed;
  clearInterval(sweep);
}
