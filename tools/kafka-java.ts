/** Runs Apache Kafka with the Java on this machine; Maven fetches its jars once, into a cache directory. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../src/errors.ts';
import { kafkaVersion, nodeSettings } from './kafka-settings.ts';

const execute = promisify(execFile);

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${kafkaVersion}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;

/** A process or container that runs one broker. */
export interface BrokerProcess {
  readonly pid: number | undefined;
  /** Asks the broker to stop and waits until it has. */
  stop(): Promise<void>;
  /** Ends the broker at once (SIGKILL) and waits until it is gone; its data stays. */
  kill(): Promise<void>;
  /** Rejects when the broker ends without having been asked to, with the reason. */
  readonly failed: Promise<never>;
}

/** True when `java` (17 or newer is needed) and `mvn` can be run. */
export async function isJavaAvailable(): Promise<boolean> {
  try {
    await Promise.all([execute('java', ['-version']), execute('mvn', ['-version'])]);
    return true;
  } catch {
    return false;
  }
}

/**
 * Directory of Kafka's jars; fetches them when they are not there yet. A download that fails or is cut off
 * leaves nothing behind: jars are collected beside the directory, which gets its name only when all are there.
 * @throws Error when Maven fails
 */
export async function fetchKafkaJars(log: (line: string) => void): Promise<string> {
  const cache = process.env.MILLRACE_CACHE_DIR ?? join(homedir(), '.cache', 'millrace');
  const jars = join(cache, `kafka-${kafkaVersion}`);
  if (await exists(jars)) return jars;
  log(`fetching Apache Kafka ${kafkaVersion} with Maven (about 45 MB, once) into ${jars}`);
  await mkdir(cache, { recursive: true });
  const partial = await mkdtemp(join(cache, 'fetch-'));
  try {
    await writeFile(join(partial, 'pom.xml'), pom);
    const output = join(partial, 'jars');
    const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${output}`];
    await execute('mvn', ['-q', '-B', ...goal], { cwd: partial, maxBuffer: 64 * 1024 ** 2 });
    // Fails when somebody else was faster, which is as good.
    await rename(output, jars).catch(async (error) => {
      if (!(await exists(jars))) throw error;
    });
  } catch (error) {
    throw new Error(`Maven could not fetch Kafka: ${messageOf(error)}`, { cause: error });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return jars;
}

/** Starts a broker in `dataDir`, formatting it first when it is new. */
export async function startJavaBroker(options: {
  jars: string;
  dataDir: string;
  port: number;
  advertisedPort: number;
  controllerPort: number;
}): Promise<BrokerProcess> {
  const { jars, dataDir, port, advertisedPort, controllerPort } = options;
  await mkdir(dataDir, { recursive: true });
  const properties = join(dataDir, 'server.properties');
  const logDir = join(dataDir, 'log');
  const settings = nodeSettings({ bind: '127.0.0.1', port, advertisedPort, controllerPort, logDir });
  await writeFile(
    properties,
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  );
  const classPath = ['-cp', join(jars, '*')];
  if (!(await exists(join(logDir, 'meta.properties')))) {
    const id = (
      await execute('java', [...classPath, 'kafka.tools.StorageTool', 'random-uuid'])
    ).stdout.trim();
    const format = ['format', '--ignore-formatted', '-t', id, '-c', properties];
    await execute('java', [...classPath, 'kafka.tools.StorageTool', ...format]);
  }
  const output = join(dataDir, 'broker.log');
  const file = await open(output, 'a');
  const jvm = ['-Xms128m', '-Xmx512m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'];
  const child = spawn('java', [...jvm, ...classPath, 'kafka.Kafka', properties], {
    cwd: dirname(properties),
    stdio: ['ignore', file.fd, file.fd],
  });
  const ended = once(child, 'exit');
  await once(child, 'spawn');
  await file.close();

  let isAskedToEnd = false;
  const failed = ended.then(([code, signal]) => {
    if (isAskedToEnd) return new Promise<never>(() => {});
    throw new Error(`the broker ended with ${signal ?? code}; its output is in ${output}`);
  });
  failed.catch(() => {});
  // A parent that dies without stopping the broker must not leave it behind.
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);

  async function end(signal: NodeJS.Signals): Promise<void> {
    isAskedToEnd = true;
    process.removeListener('exit', killOnExit);
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await ended;
  }
  return { pid: child.pid, failed, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}

/** A new directory for a broker that nobody wants to keep. */
export function createTemporaryDataDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'millrace-kafka-'));
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
