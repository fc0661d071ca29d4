/** The built program as a benchmark uses it: what is missing, starting it, and what it costs. */
import { execFileSync, fork } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath, pathToFileURL } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const tools = fileURLToPath(new URL('../.build/tools/', import.meta.url));
const exitUnavailable = 69;

/** Something that the benchmark needs is not there; the message says how to get it. */
export class MissingError extends Error {
  exitCode = exitUnavailable;
}

/** Imports a module of the built program. */
export async function importBuilt(path) {
  if (!existsSync(dist + path)) throw new MissingError('the program is not built: run `npm run build` first');
  return await import(pathToFileURL(dist + path).href);
}

/** Imports a module of tools/, as it was built. */
export async function importTool(path) {
  if (!existsSync(tools + path))
    throw new MissingError('the tools are not built: run `npm run build:tools` first');
  return await import(pathToFileURL(tools + path).href);
}

/** Costs are read from /proc. */
export function requireLinux() {
  if (!existsSync('/proc/self/stat'))
    throw new MissingError('CPU time is read from /proc: run this on Linux');
}

/**
 * Starts a long-running command of the program and resolves when it serves.
 * @returns what it announced, its pid, and `stop`, which resolves when it has ended
 */
export async function startMillrace(args, { execArgv = [] } = {}) {
  const { nodeFlags } = await importBuilt('process/children.js');
  const options = { env: cleanEnvironment(), execArgv: [...nodeFlags, ...execArgv], silent: true };
  const child = fork(`${dist}main.js`, args, options);
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  const early = exited.then((code) => {
    const error = new Error(`millrace ${args.join(' ')} ended with ${code}:\n${output}`);
    throw Object.assign(error, { exitCode: code === exitUnavailable ? exitUnavailable : 1 });
  });
  const announced = await Promise.race([
    new Promise((resolve) => child.on('message', (message) => message.type === 'ready' && resolve(message))),
    early,
  ]);
  early.catch(() => {});
  const stop = () => {
    child.kill('SIGTERM');
    return exited;
  };
  return { ...announced, pid: child.pid, stop };
}

/** Options that the person has set for another instance must not change what is measured. */
function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')));
}

/** CPU seconds, user and system, of a process with all its threads. */
export function cpuSecondsOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold spaces; utime and stime are fields 14 and 15 counted with it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond();
}

let ticks;
function ticksPerSecond() {
  ticks ??= Number(execFileSync('getconf', ['CLK_TCK']));
  return ticks;
}

/** The process at the end of a line of children: what a command or a sandbox runs in the end. */
export function lastDescendantOf(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return children.length === 0 ? pid : lastDescendantOf(Number(children.at(-1)));
}

/** Resident bytes of a process. */
export function residentBytesOf(pid) {
  return memoryOf(pid, 'VmRSS');
}

/** Most resident bytes that a process ever had. */
export function peakResidentBytesOf(pid) {
  return memoryOf(pid, 'VmHWM');
}

function memoryOf(pid, name) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
}

/** A port of loopback that nobody listens on. */
export async function findFreePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Runs `main` with a list for what has to be undone; undoes it in reverse order, also on Ctrl-C, and turns what
 * was thrown into a message and an exit code.
 */
export async function runToEnd(main) {
  const undo = [];
  const clean = async () => {
    while (undo.length > 0) await undo.pop()();
  };
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, () => clean().then(() => process.exit(130)));
  try {
    process.exitCode = await main(undo);
  } catch (error) {
    const isExplained = error.exitCode !== undefined || String(error.code).startsWith('ERR_PARSE_ARGS');
    process.stderr.write(`${isExplained ? error.message : error.stack}\n`);
    process.exitCode = error.exitCode ?? (isExplained ? 2 : 1);
  } finally {
    await clean();
  }
}
