/** Runs everything under load, kills processes at random, and checks every receipt. `--help` says how. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createViteServer } from 'vitest/node';
import { describeMachine, formatCount } from './figures.mjs';
import { importBuilt, importTool, runToEnd } from './program.mjs';

const help = `Soaks the whole path: load at a planned rate, a random SIGKILL every few seconds (collector, streamer or
engine, each started again by a keeper), then a check of every receipt against the tables.

Usage: node bench/soak.mjs [options]

  --minutes <n>     Length of the load. Default: 10.
  --rate <n>        Events a second to send. Default: 2000.
  --kill-every <n>  Seconds between two kills. Default: 10.
  --seed <n>        Seed of what is killed and sent. Default: by chance; printed.
  --buffer <kind>   embedded or kafka. Default: embedded.
  --quiet           Only the result.

Needs the built program (npm run build), and for Kafka one of: KAFKA_BROKERS (host:port of one that runs), a
Docker engine, or Java 17 and Maven.
Exit codes: 0 nothing missing and nothing twice, 1 failure, 2 wrong usage, 69 something that is needed is missing,
98 an event is missing, twice, or made up.
`;
const exitLoss = 98;

async function main(undo) {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      rate: { type: 'string', default: '2000' },
      'kill-every': { type: 'string', default: '10' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      buffer: { type: 'string', default: 'embedded' },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const log = (line) => values.quiet || process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  const { version } = await importBuilt('version.js');
  const plan = {
    minutes: readNumber(values, 'minutes'),
    rate: readNumber(values, 'rate'),
    killEvery: readNumber(values, 'kill-every'),
    seed: readNumber(values, 'seed'),
    ...(await startBuffer(values.buffer, { undo, log })),
  };
  const { soak } = await importTest('test/support/faults/soak.ts', undo);
  const result = await soak({ ...plan, log });
  process.stdout.write(formatResult(result, { ...plan, version, buffer: values.buffer }));
  return result.finding.faults.length === 0 ? 0 : exitLoss;
}

function readNumber(values, name) {
  const number = Number(values[name]);
  if (Number.isFinite(number) && number >= 0 && values[name] !== '') return number;
  throw Object.assign(new Error(`--${name} takes a number, not '${values[name]}'`), { exitCode: 2 });
}

async function startBuffer(kind, { undo, log }) {
  if (kind === 'embedded') return {};
  if (kind !== 'kafka') throw Object.assign(new Error('--buffer takes embedded or kafka'), { exitCode: 2 });
  const { startBroker } = await importTool('kafka-broker.js');
  const broker = await startBroker({ port: 0, log });
  undo.push(() => broker.stop());
  return { brokers: broker.brokers };
}

/** Imports TypeScript of the tests as vitest does: Node 20 cannot read it. */
async function importTest(path, undo) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const server = { middlewareMode: true, ws: false, watch: null };
  const vite = await createViteServer({ root, configFile: false, logLevel: 'error', server });
  undo.push(() => vite.close());
  return await vite.ssrLoadModule(`/${path}`);
}

function formatResult({ finding, kills, seconds, clickhouse, surprises }, plan) {
  const machine = describeMachine();
  const perSecond = (name) => formatCount(finding[name] / seconds);
  const count = (name) => `${name} ${formatCount(finding[name])}`;
  const killed = Object.entries(kills).map(([kind, times]) => `${kind} ${times}`);
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB`,
    `Millrace ${plan.version}, Node.js ${process.version}, ClickHouse ${clickhouse} (embedded), buffer ${plan.buffer}`,
    `${plan.minutes} min, seed ${plan.seed}: asked for ${formatCount(plan.rate)} events/s, sent ${perSecond('sent')}, acknowledged ${perSecond('acknowledged')}`,
    `SIGKILL every ${plan.killEvery} s: ${killed.join(', ')}; ends that nobody asked for: ${surprises.length}`,
    `${count('sent')}, ${count('acknowledged')}, ${count('refused')}, ${count('unknown')} (of them stored ${formatCount(finding.unknownStored)})`,
    `${count('rows')}, dead letters ${formatCount(finding.deadLetters)}, ${count('repeats')}`,
    `${count('missing')}, ${count('duplicated')}`,
    ...finding.faults,
    ...surprises,
  ];
  return `${lines.join('\n')}\n`;
}

await runToEnd(main);
