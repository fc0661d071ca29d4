/** Runs the official apache/kafka image with the Docker engine on this machine. */
import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BrokerProcess } from './kafka-java.ts';
import { kafkaVersion, nodeSettings } from './kafka-settings.ts';

const execute = promisify(execFile);
const image = `apache/kafka:${kafkaVersion}`;

/** True when a Docker engine answers; the client alone is not enough. */
export async function isDockerAvailable(): Promise<boolean> {
  try {
    await execute('docker', ['info'], { timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/**
 * Starts a container, or the one that was killed before under the same name. Without `dataDir` the data
 * lives in the container and goes with it.
 */
export async function startDockerBroker(options: {
  name: string;
  port: number;
  advertisedPort: number;
  dataDir: string | undefined;
}): Promise<BrokerProcess> {
  const { name, port, advertisedPort, dataDir } = options;
  const known = await execute('docker', ['ps', '-aq', '--filter', `name=^${name}$`]);
  if (known.stdout.trim() !== '') {
    await execute('docker', ['start', name]);
  } else {
    const logDir = '/var/lib/kafka/data';
    const settings = nodeSettings({ bind: '0.0.0.0', port, advertisedPort, controllerPort: 29093, logDir });
    const variables = Object.entries(settings).flatMap(([key, value]) => [
      '-e',
      `${variableOf(key)}=${value}`,
    ]);
    const mount = dataDir === undefined ? [] : ['-v', `${await makeLogDir(dataDir)}:${logDir}`];
    const heap = ['-e', 'KAFKA_HEAP_OPTS=-Xms128m -Xmx512m'];
    const publish = ['-p', `127.0.0.1:${port}:${port}`];
    await execute('docker', [
      'run',
      '-d',
      '--name',
      name,
      ...publish,
      ...mount,
      ...heap,
      ...variables,
      image,
    ]);
  }
  return {
    pid: undefined,
    // A container that ends early shows as a broker that never answers.
    failed: new Promise<never>(() => {}),
    async stop() {
      await execute('docker', ['stop', '-t', '20', name]).catch(() => {});
      await execute('docker', ['rm', '-f', '-v', name]).catch(() => {});
    },
    async kill() {
      await execute('docker', ['kill', name]);
    },
  };
}

/** Where the broker with Java has its log, too. The image has a user of its own, who must be able to write there. */
async function makeLogDir(dataDir: string): Promise<string> {
  const directory = join(dataDir, 'log');
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o777);
  return directory;
}

/** The image reads the setting `a.b` from the variable `KAFKA_A_B`. */
function variableOf(key: string): string {
  return `KAFKA_${key.toUpperCase().replaceAll('.', '_')}`;
}
