/** A real Apache Kafka broker for development and tests: one that runs already, a container, or Java. */
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, metadataV12 } from '@platformatic/kafka';
import { exitCodes, messageOf, OperatorError } from '../src/errors.ts';
import { isDockerAvailable, startDockerBroker } from './kafka-docker.ts';
import {
  type BrokerProcess,
  createTemporaryDataDir,
  fetchKafkaJars,
  isJavaAvailable,
  startJavaBroker,
} from './kafka-java.ts';
import { kafkaVersion } from './kafka-settings.ts';

const startTimeoutMs = 60_000;

/** Ways to come by a broker, in the order in which they are tried. */
type BrokerWay = 'environment' | 'docker' | 'java';

/** How to start a broker. */
export interface BrokerOptions {
  /** Client port on loopback; 0 picks a free one. */
  port: number;
  /** Port that the broker tells clients to use, when they shall come through a proxy; `port` by default. */
  advertisedPort?: number;
  /** Where its data lives; a temporary directory, removed by `stop`, when absent. */
  dataDir?: string;
  /** Receives what happens, a line at a time. */
  log: (line: string) => void;
  /** Ways to try; all by default. Tests that kill the broker leave out `environment`. */
  ways?: readonly BrokerWay[];
}

/** A running broker. */
export interface Broker {
  /** Addresses for clients: `host:port`, comma-separated. */
  readonly brokers: string;
  readonly how: BrokerWay;
  /** Process id, when this process started it with Java. */
  readonly pid: number | undefined;
  /** Stops it in order. A broker from the environment is left alone. */
  stop(): Promise<void>;
  /** Ends it with SIGKILL; its data stays. @throws Error for a broker from the environment */
  kill(): Promise<void>;
  /** Starts it again with the same data and port after `kill`; resolves when it serves. */
  restart(): Promise<void>;
}

/**
 * Starts a single-node Kafka on loopback and resolves when it serves.
 * @throws OperatorError (exit 69) when none of the ways works; the message names all of them
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const ways = options.ways ?? ['environment', 'docker', 'java'];
  const fromEnvironment = process.env.KAFKA_BROKERS;
  if (ways.includes('environment') && fromEnvironment !== undefined && fromEnvironment !== '') {
    if (await isServing(fromEnvironment)) return useRunningBroker(fromEnvironment);
    options.log(`KAFKA_BROKERS is ${fromEnvironment}, where no Kafka answers: trying to start one`);
  }
  try {
    if (ways.includes('docker') && (await isDockerAvailable())) return await startWithDocker(options);
    if (ways.includes('java') && (await isJavaAvailable())) return await startWithJava(options);
  } catch (error) {
    throw new OperatorError(`Kafka could not be started: ${messageOf(error)}`, exitCodes.unavailable, {
      cause: error,
    });
  }
  throw new OperatorError(
    'no Kafka can be had on this machine. Do one of these: set KAFKA_BROKERS to a Kafka that runs ' +
      '(host:port), or start a Docker engine (`docker info` must succeed), or install Java 17 or newer and Maven.',
    exitCodes.unavailable,
  );
}

function useRunningBroker(brokers: string): Broker {
  const refuse = () => Promise.reject(new Error(`the broker at ${brokers} was not started here`));
  return {
    brokers,
    how: 'environment',
    pid: undefined,
    stop: () => Promise.resolve(),
    kill: refuse,
    restart: refuse,
  };
}

async function startWithDocker(options: BrokerOptions): Promise<Broker> {
  const port = options.port === 0 ? await findFreePort() : options.port;
  const name = `millrace-kafka-${port}`;
  options.log(`starting Apache Kafka ${kafkaVersion} in Docker, container ${name}`);
  const advertisedPort = options.advertisedPort ?? port;
  const start = () => startDockerBroker({ name, port, advertisedPort, dataDir: options.dataDir });
  return superviseBroker({ how: 'docker', port, start, release: () => Promise.resolve() });
}

async function startWithJava(options: BrokerOptions): Promise<Broker> {
  const jars = await fetchKafkaJars(options.log);
  const port = options.port === 0 ? await findFreePort() : options.port;
  const controllerPort = await findFreePort();
  const dataDir = options.dataDir ?? (await createTemporaryDataDir());
  options.log(`starting Apache Kafka ${kafkaVersion} with Java, data in ${dataDir}`);
  const advertisedPort = options.advertisedPort ?? port;
  const start = () => startJavaBroker({ jars, dataDir, port, advertisedPort, controllerPort });
  const release = async () => {
    if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
  };
  return superviseBroker({ how: 'java', port, start, release });
}

async function superviseBroker(way: {
  how: BrokerWay;
  port: number;
  start: () => Promise<BrokerProcess>;
  release: () => Promise<void>;
}): Promise<Broker> {
  const brokers = `127.0.0.1:${way.port}`;
  let running = await way.start();
  try {
    await Promise.race([waitUntilServing(brokers), running.failed]);
  } catch (error) {
    await running.stop();
    throw error;
  }
  return {
    brokers,
    how: way.how,
    get pid() {
      return running.pid;
    },
    async stop() {
      await running.stop();
      await way.release();
    },
    kill: () => running.kill(),
    async restart() {
      running = await way.start();
      await Promise.race([waitUntilServing(brokers), running.failed]);
    },
  };
}

async function waitUntilServing(brokers: string): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (!(await isServing(brokers))) {
    if (Date.now() > deadline) throw new Error(`no answer at ${brokers} within ${startTimeoutMs / 1000} s`);
    await sleep(100);
  }
}

/** A broker serves when its metadata names a broker: it accepts connections a little earlier. */
async function isServing(brokers: string): Promise<boolean> {
  const first = brokers.split(',')[0] ?? '';
  const separator = first.lastIndexOf(':');
  const connection = new Connection('millrace-tools', { connectTimeout: 2000, requestTimeout: 2000 });
  connection.on('error', () => {});
  try {
    await connection.connect(first.slice(0, separator), Number(first.slice(separator + 1)));
    const metadata = await metadataV12.api.async(connection, [], false, false);
    return metadata.brokers.length > 0;
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}

function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
