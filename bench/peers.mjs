/** The collectors that are measured beside ours: peers/README.md. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MissingError } from './program.mjs';

const execute = promisify(execFile);
const goSource = fileURLToPath(new URL('peers/go', import.meta.url));
const startTimeoutMs = 10_000;

const franz = 'net/http, franz-go, acks=all, idempotent, snappy, no linger';

/** Each peer: its flags and variables, and what it promises. */
export const peers = {
  'go-franz': { flags: ['--mode', 'franz'], durability: franz },
  'go-franz-gc400': { flags: ['--mode', 'franz'], env: { GOGC: '400' }, durability: `${franz}; GOGC=400` },
  'go-sarama': { flags: ['--mode', 'sarama'], durability: 'net/http, sarama SyncProducer, acks=1, snappy' },
};

/** Those that are measured when nobody says which. */
export const usualPeers = ['go-franz', 'go-sarama'];

/**
 * Builds the Go peers.
 * @returns path of the program, and the version of Go
 * @throws MissingError when Go is not installed
 */
export async function buildGoPeers(dir) {
  const binary = join(dir, 'go-peer');
  try {
    const { stdout } = await execute('go', ['env', 'GOVERSION']);
    await execute('go', ['build', '-o', binary, '.'], { cwd: goSource });
    return { binary, version: stdout.trim() };
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    throw new MissingError(
      'Go is not installed, and the peers are written in it: install it, or --peers none',
    );
  }
}

/**
 * Starts a peer on an existing topic and resolves when it serves.
 * @returns its pid, and `stop`, which resolves when it has ended
 */
export async function startPeer(binary, { flags, env, listen, brokers, topic }) {
  const args = [...flags, '--listen', listen, '--brokers', brokers, '--topic', topic];
  const child = spawn(binary, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (data) => (output += data));
  const ended = once(child, 'exit');
  // It must not outlive a benchmark that was interrupted.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    process.off('exit', kill);
  };
  for (const deadline = Date.now() + startTimeoutMs; !(await isReady(listen)); await sleep(20)) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`the peer ${args.join(' ')} did not start:\n${output}`);
    }
  }
  return { pid: child.pid, stop };
}

async function isReady(listen) {
  const response = await fetch(`http://${listen}/readyz`).catch(() => undefined);
  return response?.ok === true;
}
