/** Measures the whole at a constant rate, by `millrace bench`. `--help` says how. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readList, text } from './arguments.mjs';
import { startEngine, startStreamer } from './pipeline.mjs';
import { findFreePort, requireLinux, runToEnd, startMillrace } from './program.mjs';
import { openSite, partitions, topicPrefix } from './site.mjs';

const help = `Starts a Kafka, \`millrace clickhouse\`, \`millrace stream\` and \`millrace collect\` on this machine, each a process of
its own with its defaults, and runs \`millrace bench\` against them: latency from the planned send time, cost, freshness,
and whether each acknowledged event is stored exactly once.

Usage: node bench/steady.mjs [options] [-- options of millrace bench]

  --buffer <kind>  kafka or embedded. Default: kafka.
  --load <load>    As for millrace bench. Default: const:10000:5m.
  --slo <terms>    What must hold. Default: p99<10ms,errors<0.001%,loss=0.
  --dir <dir>      Where log and tables are written. Default: the directory for temporary files.

Needs Linux, the built program (npm run build), the embedded ClickHouse (chdb), and for Kafka one of: KAFKA_BROKERS
(host:port of one that runs), a Docker engine, or Java 17 and Maven.
Exit codes: those of millrace bench.
`;

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));

async function measure(undo) {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  requireLinux();
  const site = await openSite({ dir: options.dir, needsKafka: options.buffer === 'kafka' }, undo);
  const engine = await startEngine(site.dir, undo);
  const flags = {
    kafka: ['--kafka-brokers', site.brokers, '--kafka-partitions', String(partitions)],
    embedded: ['--data-dir', join(site.dir, 'log')],
  }[options.buffer];
  const buffer = ['--buffer', options.buffer, '--kafka-topic', topicPrefix, ...flags];
  const listen = ['--listen', `127.0.0.1:${await findFreePort()}`, '--log-level', 'warn'];
  const collector = await startMillrace(['collect', ...listen, ...buffer]);
  undo.push(() => collector.stop());
  const streamer = await startStreamer({ engine, database: 'default', group: topicPrefix, flags: buffer });
  undo.push(() => streamer.stop());
  process.stdout.write(`Kafka: ${site.kafka}. The load, what is measured and Kafka share this machine.\n\n`);
  return await runBench([
    ...['--url', `http://127.0.0.1:${collector.port}`, '--load', options.load, '--slo', options.slo],
    ...['--streamer-url', `http://127.0.0.1:${streamer.port}`, '--clickhouse-url', engine.url],
    ...options.benchFlags,
  ]);
}

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      buffer: text('kafka'),
      load: text('const:10000:5m'),
      slo: text('p99<10ms,errors<0.001%,loss=0'),
      dir: text(tmpdir()),
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [buffer] = readList('buffer', values.buffer, ['kafka', 'embedded']);
  return { ...values, buffer, benchFlags: positionals };
}

async function runBench(flags) {
  const child = spawn(process.execPath, [main, 'bench', ...flags], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  return code ?? 1;
}

await runToEnd(measure);
