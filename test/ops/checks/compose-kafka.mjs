/** Kafka's part of the compose file: the set-up class of its image, and then the broker, with the jars that tests use. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';
import { freePort, until } from '../network.mjs';

const file = 'docker/compose.yaml';
/** As in the image, in short. */
const logging = `Configuration:
  Properties: { Property: [] }
  Appenders: { Console: { name: STDOUT } }
  Loggers: { Root: { level: info, AppenderRef: { ref: STDOUT } }, Logger: [] }
`;

/** @param {import('../check.mjs').Site} site */
async function run({ root, scratch }) {
  const { services } = parse(readFileSync(join(root, file), 'utf8'), { merge: true });
  const { image, environment } = services.kafka;
  const { fetchKafkaJars } = await import(
    new URL('../../../.build/tools/kafka-java.js', import.meta.url).href
  );
  const { kafkaVersion } = await import(
    new URL('../../../.build/tools/kafka-settings.js', import.meta.url).href
  );
  const [name] = image.split('@');
  if (name !== `apache/kafka:${kafkaVersion}`)
    throw new CheckError(`${file}: ${image} is not the Kafka ${kafkaVersion} that the tests use`);
  const classPath = `${await fetchKafkaJars(() => {})}/*`;
  const port = await freePort();
  const env = await onLoopback(environment, { port, dataDir: join(scratch, 'data') });
  const [defaults, mounted, final] = ['defaults', 'mounted', 'final'].map((name) => join(scratch, name));
  for (const directory of [defaults, mounted, final]) mkdirSync(directory);
  // As in the image, but without settings: what is missing in the compose file is missed.
  for (const name of ['server.properties', 'log4j2.yaml', 'tools-log4j2.yaml'])
    writeFileSync(join(defaults, name), name === 'server.properties' ? '\n' : logging);
  const directories = Object.entries({
    'default-configs': defaults,
    'mounted-configs': mounted,
    'final-configs': final,
  });
  await runTool(
    [
      'java',
      '-cp',
      classPath,
      'kafka.docker.KafkaDockerWrapper',
      'setup',
      ...directories.flatMap(([name, path]) => [`--${name}-dir`, path]),
    ],
    { env: { ...env, CLUSTER_ID: '5L6g3nShT-eMCtK--X86sw' } },
  );
  await serves(['java', '-cp', classPath, 'kafka.Kafka', join(final, 'server.properties')], { env, port });
  return `${image}'s own set-up takes the variables, and the broker serves with them`;
}

/** Hosts of the compose file are this machine here, and ports are free ones. */
async function onLoopback(environment, { port, dataDir }) {
  const controller = await freePort();
  const entries = Object.entries(environment).map(([name, value]) => [
    name,
    String(value)
      .replace(
        /(\/\/|@)(kafka)?:(909[23])/g,
        (_, lead, _host, old) => `${lead}127.0.0.1:${old === '9092' ? port : controller}`,
      )
      .replace('/var/lib/kafka/data', dataDir),
  ]);
  return Object.fromEntries(entries);
}

/** Starts the broker and waits until it answers; ends it. */
async function serves([program, ...args], { env, port }) {
  const child = spawn(program, args, { env: { ...process.env, ...env } });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (log += data));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const { Connection, metadataV12 } = await import('@platformatic/kafka');
  try {
    const isServing = async () => {
      const connection = new Connection('check', { connectTimeout: 1_000 });
      connection.on('error', () => {});
      const { brokers } = await connection
        .connect('127.0.0.1', port)
        .then(() => metadataV12.api.async(connection, [], false, false))
        .finally(() => connection.close());
      return brokers.length === 1;
    };
    const said = () => log.slice(-3_000);
    await until(`a broker with the variables of ${file} to serve`, isServing, { child, seconds: 60, said });
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'compose kafka',
    tools: ['java', 'mvn'],
    run,
    mistakes: [
      {
        file,
        find: 'KAFKA_PROCESS_ROLES: broker,controller',
        replace: 'KAFKA_PROCESS_ROLES: broker,controler',
        says: /controler/,
      },
      {
        file,
        find: 'KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER',
        replace: 'KAFKA_CONTROLLER_NAMES: CONTROLLER',
        says: /controller\.listener\.names/,
      },
    ],
  },
];
