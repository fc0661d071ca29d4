/** Runs the built program as a user does. */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const startTimeoutMs = 60_000;

/** Real traffic, where it is: never part of the project. */
export const accessLog = fileURLToPath(new URL('../../../shared/data/apache_access.log.gz', import.meta.url));

/** A running program. */
export interface Program {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  readonly output: { stdout: string; stderr: string };
  /** Its exit code, or the signal that killed it. */
  readonly exited: Promise<number | string>;
  /** SIGTERM, and the exit code. */
  stop(): Promise<number | string>;
  /** SIGKILL to it and to the processes that it started. */
  kill(): Promise<void>;
}

/** Starts a long-running command and waits until it is ready; rejects with its output when it ends before. */
export async function startProgram(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const program = launchProgram(args, env);
  const isReady = args[0] === 'start' ? () => program.output.stdout.includes('is ready') : undefined;
  const ready = new Promise<void>((resolve) => {
    program.child.on('message', (message: { type?: string }) => message.type === 'ready' && resolve());
    if (isReady !== undefined) program.child.stdout?.on('data', () => isReady() && resolve());
  });
  const early = program.exited.then((code) => {
    throw new Error(
      `millrace ${args.join(' ')} ended with ${code}:\n${program.output.stderr}${program.output.stdout}`,
    );
  });
  const late = sleep(startTimeoutMs, undefined, { ref: false }).then(() => {
    throw new Error(`millrace ${args.join(' ')} is not ready:\n${program.output.stderr}`);
  });
  await Promise.race([ready, early, late]);
  early.catch(() => {});
  late.catch(() => {});
  return program;
}

/** Starts a command without waiting. */
export function launchProgram(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  // Users give Node no flags; vitest's would be handed on.
  const options = { env: { ...cleanEnvironment(), ...env }, execArgv: [], silent: true };
  const child = fork(main, [...args], options);
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (data) => {
    output.stdout += data;
  });
  child.stderr?.on('data', (data) => {
    output.stderr += data;
  });
  const exited = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  return {
    child,
    output,
    exited,
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
    async kill() {
      const children = await childrenOf(child.pid ?? 0);
      child.kill('SIGKILL');
      for (const pid of children) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Gone already.
        }
      }
      await exited;
    },
  };
}

/** What a command printed, and its exit code. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export function runProgram(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return runCommand(process.execPath, [main, ...args], env);
}

/** Runs any program to its end. */
export function runCommand(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    const options = { env: { ...cleanEnvironment(), ...env }, maxBuffer: 64 * 1024 * 1024, timeout: 110_000 };
    execFile(file, [...args], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr });
    });
  });
}

/**
 * Ports that nobody listens on, each another one. Not of those that the system gives to outgoing connections: such a
 * connection could take the port before a program listens on it, the program's own to itself, even.
 */
export async function freePorts<const N extends number>(count: N): Promise<number[] & { length: N }> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = drawPort();
    if (!drawnPorts.has(port) && (await isFree(port))) {
      drawnPorts.add(port);
      ports.push(port);
    }
  }
  return ports as number[] & { length: N };
}

/** Those that were given away: whoever asked may not listen yet. */
const drawnPorts = new Set<number>();

/** By chance without a seed: test runs beside this one draw, too. */
function drawPort(): number {
  const [low, high] = ephemeralPorts();
  const below = Math.max(low - 10_000, 0);
  const above = 65_535 - high;
  const drawn = Math.floor(Math.random() * (below + above));
  return drawn < below ? 10_000 + drawn : high + 1 + drawn - below;
}

/** First and last of the ports for outgoing connections. */
function ephemeralPorts(): readonly [number, number] {
  try {
    const [low, high] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/);
    return [Number(low), Number(high)];
  } catch {
    // What IANA gives them; RFC 6335.
    return [49_152, 65_535];
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A directory that `remove` deletes. */
export function temporaryDirectory(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'millrace-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** An instance of everything on ports of its own, and how to use it. */
export interface Site {
  readonly collector: string;
  readonly streamer: string;
  readonly clickhouse: string;
  /** Flags for `start`. */
  readonly flags: readonly string[];
}

/** Data directories of sites, by the address of their ClickHouse: where its passwords are. */
const dataDirs = new Map<string, string>();

/** What a request to the ClickHouse of a site needs to get in as its owner. */
export function loginOf(clickhouse: string): Record<string, string> {
  const dataDir = dataDirs.get(clickhouse);
  if (dataDir === undefined) return {};
  const password = readFileSync(join(dataDir, 'clickhouse-password'), 'utf8').trim();
  return { 'x-clickhouse-user': 'default', 'x-clickhouse-key': password };
}

/** Addresses for one `start`. */
export async function createSite(dataDir: string): Promise<Site> {
  const [collect, stream, clickhouse] = (await freePorts(3)) as [number, number, number];
  dataDirs.set(`http://127.0.0.1:${clickhouse}`, dataDir);
  return {
    collector: `http://127.0.0.1:${collect}`,
    streamer: `http://127.0.0.1:${stream}`,
    clickhouse: `http://127.0.0.1:${clickhouse}`,
    flags: [
      ...['--data-dir', dataDir],
      ...['--listen', `127.0.0.1:${collect}`],
      ...['--stream-listen', `127.0.0.1:${stream}`],
      ...['--clickhouse-url', `http://127.0.0.1:${clickhouse}`],
    ],
  };
}

/** Runs SQL over HTTP and gives the rows. */
export async function query<T = Record<string, unknown>>(clickhouse: string, sql: string): Promise<T[]> {
  const response = await fetch(
    `${clickhouse}/?default_format=JSONEachRow&output_format_json_quote_64bit_integers=0`,
    {
      method: 'POST',
      headers: loginOf(clickhouse),
      body: sql,
    },
  );
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
}

/** Posts a body as JSON. */
export async function post(
  collector: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return await fetch(`${collector}/v1/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Tries until `probe` gives something other than false or undefined. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | false | undefined>,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      const result = await probe();
      if (result !== false && result !== undefined) return result;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`${what} did not happen within ${timeoutMs} ms`, { cause: last });
}

/** Without options that the person who runs the tests has set. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_'));
  return Object.fromEntries(entries);
}

/** The processes that it started, those that these started, and so on. */
export async function childrenOf(pid: number): Promise<number[]> {
  const { stdout } = await runCommand('pgrep', ['-P', String(pid)]);
  const direct = stdout.split('\n').filter(Boolean).map(Number);
  const deeper = await Promise.all(direct.map(childrenOf));
  return [...direct, ...deeper.flat()];
}
