/** `npm run kafka`: a real single-node Kafka for development, until Ctrl-C. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { exitCodes, messageOf, OperatorError } from '../src/errors.ts';
import { type Broker, startBroker } from './kafka-broker.ts';

const help = `Usage: npm run kafka -- [--port 9092] [--data-dir <dir>]

Starts Apache Kafka on loopback for development: KAFKA_BROKERS if it is set and answers,
else the apache/kafka image with Docker, else Java 17 and Maven.

  --port <port>      client port, default 9092; 0 picks a free one
  --data-dir <dir>   keep the data here; by default it is temporary
`;

function parseCommandLine(): { port: number; dataDir: string | undefined; isHelp: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '9092' },
        'data-dir': { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error('--port takes 0 to 65535');
    const dataDir = values['data-dir'];
    // Docker takes a path that is not absolute for the name of a volume.
    return { port, dataDir: dataDir === undefined ? undefined : resolve(dataDir), isHelp: values.help };
  } catch (error) {
    throw new OperatorError(`${messageOf(error)}\n\n${help}`, exitCodes.usage);
  }
}

async function main(): Promise<void> {
  const { port, dataDir, isHelp } = parseCommandLine();
  if (isHelp) {
    process.stdout.write(help);
    return;
  }
  const log = (line: string) => process.stderr.write(`${line}\n`);
  let broker: Broker | undefined;
  let isStopping = false;
  const stop = async () => {
    // Exiting ends the Java process, too.
    if (isStopping || broker === undefined) process.exit(exitCodes.failure);
    isStopping = true;
    log('stopping the broker');
    await broker.stop();
    clearInterval(keepAlive);
  };
  process.on('SIGINT', () => void stop());
  process.on('SIGTERM', () => void stop());
  const keepAlive = setInterval(() => {}, 60_000);
  try {
    broker = await startBroker({ port, log, ...(dataDir === undefined ? {} : { dataDir }) });
    process.stdout.write(
      `bootstrap: ${broker.brokers}\n` +
        `started by: ${broker.how}${broker.pid === undefined ? '' : `, pid ${broker.pid}`}\n` +
        `use it: node dist/main.js start --buffer kafka --kafka-brokers ${broker.brokers}\n`,
    );
  } finally {
    if (broker === undefined || broker.how === 'environment') clearInterval(keepAlive);
  }
  if (broker.how !== 'environment') process.stdout.write('Ctrl-C stops it\n');
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = error instanceof OperatorError ? error.exitCode : exitCodes.failure;
}
