/** HAProxy with the configuration of docker/, on ports of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePorts, runCommand, until } from './program.ts';
import { selfSigned } from './self-signed.ts';

const configuration = fileURLToPath(new URL('../../docker/haproxy/haproxy.cfg', import.meta.url));
/** Debian installs it where PATH may not look. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/** A running HAProxy. */
export interface Haproxy {
  /** Where clients post: https. */
  readonly url: string;
  /** Where Prometheus asks. */
  readonly metricsUrl: string;
  /** What it thinks of each collector, as `UP` or `DOWN`, in the order in which they were given. */
  states(): Promise<string[]>;
  /** What it has logged. */
  log(): string;
  stop(): Promise<void>;
}

/** Whether HAProxy is installed. */
export async function hasHaproxy(): Promise<boolean> {
  return (await runCommand('haproxy', ['-v'], { PATH: env.PATH })).code === 0;
}

/**
 * Starts it in front of two collectors, `host:port` each; resolves when it takes both for ready.
 * @param directory for the certificate
 */
export async function startHaproxy(
  [first, second]: readonly [string, string],
  directory: string,
): Promise<Haproxy> {
  const [https, metrics, stats] = (await freePorts(3)) as [number, number, number];
  const certificate = join(directory, 'tls.pem');
  writeFileSync(certificate, `${selfSigned.cert}\n${selfSigned.key}\n`);
  const settings = {
    HTTPS_BIND: `127.0.0.1:${https}`,
    METRICS_BIND: `127.0.0.1:${metrics}`,
    STATS_BIND: `127.0.0.1:${stats}`,
    TLS_PEM: certificate,
    // Each takes two open files: fewer than a person's machine allows.
    MAX_CONNECTIONS: '400',
    COLLECTOR_1: first,
    COLLECTOR_2: second,
  };
  const child = spawn('haproxy', ['-db', '-f', configuration], { env: { ...env, ...settings } });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      log += data;
    });
  const exited = once(child, 'exit');
  const proxy: Haproxy = {
    url: `https://127.0.0.1:${https}`,
    metricsUrl: `http://127.0.0.1:${metrics}`,
    states: () => readStates(`http://127.0.0.1:${stats}/;csv`),
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
  const early = exited.then(([code]) => {
    throw new Error(`haproxy ended with ${code}:\n${log}`);
  });
  early.catch(() => {});
  await Promise.race([early, until('both collectors are up', () => areUp(proxy))]);
  return proxy;
}

/** Whether it sends requests to both collectors. */
export async function areUp(proxy: Haproxy): Promise<boolean> {
  return (await proxy.states()).join() === 'UP,UP';
}

/** By the names of the columns, which differ between versions. */
async function readStates(url: string): Promise<string[]> {
  const [head = '', ...lines] = (await (await fetch(url)).text()).trim().split('\n');
  const column = head.replace('# ', '').split(',').indexOf('status');
  const servers = lines.filter((line) => line.startsWith('collectors,collector-'));
  return servers.map((line) => line.split(',')[column] ?? '');
}
