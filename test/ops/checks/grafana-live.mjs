/** The operators' dashboards on a real Prometheus that scrapes a real Millrace: every panel has something to draw. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckError } from '../check.mjs';
import { namesIn, readExpressions } from '../grafana-files.mjs';
import { freePorts, untilOk } from '../network.mjs';
import { toolEnvironment } from '../tools.mjs';

const scrapes = 8;
const readySeconds = 60;

async function checkLive({ root, scratch }) {
  const [collect, stream, clickhouse, prometheus] = await freePorts(4);
  const started = [];
  try {
    const flags = ['--data-dir', join(scratch, 'data'), '--listen', `127.0.0.1:${collect}`];
    const others = [
      '--stream-listen',
      `127.0.0.1:${stream}`,
      '--clickhouse-url',
      `http://127.0.0.1:${clickhouse}`,
    ];
    const main = join(root, 'dist/main.js');
    started.push(start([process.execPath, main, 'start', ...flags, ...others]));
    for (const port of [collect, stream]) await untilReady(started[0], `http://127.0.0.1:${port}/readyz`);
    started.push(start(prometheusCommand(scratch, { prometheus, collect, stream })));
    await untilReady(started[1], `http://127.0.0.1:${prometheus}/-/ready`);
    for (let round = 0; round < scrapes; round++) {
      await postEvents(`http://127.0.0.1:${collect}/v1/events`, round);
      await sleep(1_000);
    }
    return await queryPanels(root, `http://127.0.0.1:${prometheus}/api/v1`);
  } finally {
    for (const { child, ended } of started) {
      child.kill('SIGTERM');
      await ended;
    }
  }
}

function start([file, ...args]) {
  const child = spawn(file, args, { env: toolEnvironment, stdio: ['ignore', 'pipe', 'pipe'] });
  const program = { child, ended: once(child, 'exit'), said: '' };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (program.said += data));
  return program;
}

function untilReady(program, url) {
  return untilOk(url, { child: program.child, seconds: readySeconds, said: () => program.said });
}

function prometheusCommand(scratch, { prometheus, collect, stream }) {
  const job = (name, port) => ({ job_name: name, static_configs: [{ targets: [`127.0.0.1:${port}`] }] });
  const file = join(scratch, 'prometheus.yaml');
  const scrape_configs = [job('millrace-collector', collect), job('millrace-streamer', stream)];
  writeFileSync(file, JSON.stringify({ global: { scrape_interval: '1s' }, scrape_configs }));
  return [
    'prometheus',
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(scratch, 'tsdb')}`,
    `--web.listen-address=127.0.0.1:${prometheus}`,
  ];
}

/** Events of each fate: rows, one that is refused by the collector, one by ClickHouse, and one that repeats an id. */
async function postEvents(url, round) {
  const views = Array.from({ length: 50 }, (_, n) => JSON.stringify({ event: 'view', n }));
  const others = [
    '{"path":"/"}',
    '{"event":"odd","a":{"b":1},"a.b":2}',
    `{"event":"once","id":"${round >> 1}"}`,
  ];
  const body = [...views, ...others].join('\n');
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body,
  });
  await response.text();
}

/** An expression of which Prometheus has every series must give something: else its labels do not fit. */
async function queryPanels(root, api) {
  const ask = async (path, params = {}) => {
    const response = await fetch(`${api}${path}`, { method: 'POST', body: new URLSearchParams(params) });
    return await response.json();
  };
  const names = await fetch(`${api}/label/__name__/values`).then((response) => response.json());
  const known = new Set(names.data);
  let [drawn, without] = [0, 0];
  for (const { where, expr } of readExpressions(root, { $__rate_interval: '5s', $__range: '10s' })) {
    const { status, error, data } = await ask('/query', { query: expr });
    if (status !== 'success') throw new CheckError(`${where}: ${error}`);
    if (!namesIn(expr).every((name) => known.has(name))) without++;
    else if (data.result.length === 0) throw new CheckError(`${where} draws nothing: ${expr}`);
    else drawn++;
  }
  return `${drawn} expressions give something; ${without} are of Kafka, spools or a ClickHouse server, which are not here`;
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'grafana panels on a running prometheus',
    tools: ['prometheus'],
    run: checkLive,
    mistakes: [
      {
        file: 'docker/grafana/dashboards/operations/millrace-streamer.json',
        find: 'rate(millrace_freshness_seconds_bucket',
        replace: 'rate(millrace_freshness_seconds_count',
        says: /draws nothing/,
      },
    ],
  },
];
