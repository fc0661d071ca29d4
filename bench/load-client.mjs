/** What it costs to send a request: the generator of `millrace bench` beside undici. `--help` says how. */
import { fork } from 'node:child_process';
import { createHistogram, performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, formatCount, formatDecimal, formatSpread, formatTable } from './figures.mjs';
import { findFreePort, importBuilt, runToEnd } from './program.mjs';

const help = `Measures what a request costs the one who sends it: the generator of millrace bench, and undici by dispatch and by
request, each on schedule to a server in a process of its own that answers at once. Runs are interleaved, each in a
process of its own, whose CPU time counts from the end of the first second on.

Usage: node bench/load-client.mjs [options]

  --rate <n>         Requests per second; more than a client can send shows the most that it can. Default: 10000.
  --seconds <n>      Length of a run, at least 3. Default: 10.
  --rounds <n>       Rounds; in each, every client runs. Default: 3.
  --connections <n>  Connections, each with one request in flight. Default: 64.
  --clients <list>   Default: millrace,dispatch,request.

Needs the built program (npm run build). Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 it is not built.
`;

const event = '{"event":"view","os":"linux","browser":"chrome"}';
const path = '/v1/events';

async function main(undo) {
  const options = readOptions();
  if (options.help) process.stdout.write(help);
  else if (options.as === 'server') await serve(options);
  else if (options.as !== undefined) process.send(await (clients[options.as] ?? runUndici)(options));
  else await compare(options, undo);
  return 0;
}

function readOptions() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    options: {
      rate: text('10000'),
      seconds: text('10'),
      rounds: text('3'),
      connections: text('64'),
      clients: text('millrace,dispatch,request'),
      // Of the processes that this one starts.
      as: { type: 'string' },
      port: text('0'),
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return values;
}

async function compare(options, undo) {
  const { rate, seconds, rounds, connections } = options;
  const { cpu, cores, node } = describeMachine();
  process.stdout.write(`Machine: ${cores} cores of ${cpu}; Node.js ${node}.\n`);
  process.stdout.write(
    `Load: ${rate} requests/s for ${seconds} s over ${connections} connections; \`${event}\`.\n\n`,
  );
  const names = options.clients.split(',');
  const runs = [];
  for (let round = 1; round <= Number(rounds); round++)
    for (const name of names) runs.push({ name, ...(await measure(name, options, undo)) });
  process.stdout.write(`${formatRuns(runs, names)}\n`);
}

/** One run, with a server of its own. */
async function measure(name, { rate, seconds, connections }, undo) {
  const port = String(await findFreePort());
  const server = startAs('server', ['--port', port]);
  undo.push(() => server.child.kill());
  await server.said;
  const flags = ['--port', port, '--rate', rate, '--seconds', seconds, '--connections', connections];
  const figures = await startAs(name, flags).said;
  server.child.kill();
  return figures;
}

/** Starts this file in another role; `said` is its first message. */
function startAs(role, args) {
  const child = fork(fileURLToPath(import.meta.url), ['--as', role, ...args]);
  const said = new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`the ${role} ended with ${code}`)));
  });
  return { child, said };
}

/** Answers every post as a collector does, and does nothing else. */
async function serve({ port }) {
  const { loadUws } = await importBuilt('collector/uws.js');
  const { app, listen } = loadUws();
  let offset = 0;
  app.post(path, (res) => {
    res.onAborted(() => {});
    res.onData((_, isLast) => {
      if (!isLast) return;
      res.cork(() => {
        res.writeHeader('Content-Type', 'application/json').writeHeader('Access-Control-Allow-Origin', '*');
        res.end(`{"status":"ok","partition":0,"offset":${offset++}}`);
      });
    });
  });
  await listen('127.0.0.1', Number(port));
  process.send('ready');
}

/** CPU time and answers from the end of the first second to the end of the profile. */
class Meter {
  #from;
  #to;

  /** @param at seconds from the start @param answers so far @param seconds of the profile */
  see(at, answers, seconds) {
    if (at > seconds + 0.5) return;
    this.#to = { at, answers, cpu: process.cpuUsage() };
    this.#from ??= this.#to;
  }

  figures(histogram) {
    const [from, to] = [this.#from, this.#to];
    const answers = to.answers - from.answers;
    return {
      perSecond: answers / (to.at - from.at),
      userMicros: (to.cpu.user - from.cpu.user) / answers,
      systemMicros: (to.cpu.system - from.cpu.system) / answers,
      p50Ms: histogram.percentile(50) / 1000,
      p99Ms: histogram.percentile(99) / 1000,
    };
  }
}

async function runMillrace({ port, rate, seconds, connections }) {
  const { runLoad } = await importBuilt('bench/load.js');
  const { parseProfile } = await importBuilt('bench/profile.js');
  const { createPayload } = await importBuilt('bench/payload.js');
  const meter = new Meter();
  let answers = 0;
  const result = await runLoad({
    ...{ url: new URL(`http://127.0.0.1:${port}`), path, payload: createPayload('classic') },
    ...{ profile: parseProfile(`const:${rate}:${seconds}s`), connections: Number(connections) },
    ...{ connectionUse: 'kept', checksCertificate: true, answerTimeoutMs: 60_000, longestWaitMs: 1_000 },
    stop: new AbortController().signal,
    onSecond({ at, acknowledged }) {
      answers += acknowledged;
      meter.see(at, answers, Number(seconds));
    },
  });
  return { ...meter.figures(result.latency), busy: result.generatorBusy };
}

/** The same schedule with undici; what waits longer than a second is given up as well. */
async function runUndici({ as, port, rate, seconds, connections }) {
  const { Pool } = await import('undici');
  const { readOutcome } = await importBuilt('bench/tally.js');
  const { createReceipts } = await importBuilt('verify/receipts.js');
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: Number(connections) });
  const request = { method: 'POST', path, headers: { 'content-type': 'application/json' }, body: event };
  const total = Number(rate) * Number(seconds);
  const [meter, histogram, receipts] = [new Meter(), createHistogram(), createReceipts()];
  const msEach = 1000 / Number(rate);
  const before = performance.eventLoopUtilization();
  const start = performance.now();
  const now = () => performance.now() - start;
  let [answers, taken, inFlight, nextSecond] = [0, 0, 0, 1];
  const answered = (plannedMs, body) => {
    readOutcome({ status: 200, body, isLast: false }, 1, receipts);
    histogram.record(Math.max(1, Math.round((now() - plannedMs) * 1000)));
    answers++;
    inFlight--;
    send();
  };
  const post = { dispatch: postByDispatch, request: postByRequest }[as].bind(undefined, pool, request);
  const send = () => {
    const nowMs = now();
    for (; taken < total && taken * msEach <= nowMs && inFlight < Number(connections); taken++) {
      if (nowMs - taken * msEach > 1_000) continue;
      inFlight++;
      post(taken * msEach, answered);
    }
    if (nowMs >= nextSecond * 1000) meter.see(nextSecond++, answers, Number(seconds));
  };
  while (taken < total || inFlight > 0) {
    send();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  meter.see(now() / 1000, answers, Number(seconds));
  await pool.close();
  const busy = performance.eventLoopUtilization(before).utilization;
  return { ...meter.figures(histogram), busy };
}

function postByDispatch(pool, request, plannedMs, answered) {
  let body = '';
  pool.dispatch(request, {
    onRequestStart() {},
    onResponseStart() {},
    onResponseData(_, chunk) {
      body += chunk.latin1Slice();
    },
    onResponseEnd: () => answered(plannedMs, body),
    onResponseError(_, error) {
      throw error;
    },
  });
}

async function postByRequest(pool, request, plannedMs, answered) {
  const { body } = await pool.request(request);
  answered(plannedMs, await body.text());
}

const clients = { millrace: runMillrace };

const columns = [
  ['answers/s', ({ perSecond }) => perSecond, formatCount],
  ['CPU us per request', ({ userMicros, systemMicros }) => userMicros + systemMicros, formatDecimal(1)],
  ['of it user', ({ userMicros }) => userMicros, formatDecimal(1)],
  ['of it system', ({ systemMicros }) => systemMicros, formatDecimal(1)],
  ['thread busy', ({ busy }) => busy, formatDecimal(2)],
  ['p50 ms', ({ p50Ms }) => p50Ms, formatDecimal(2)],
  ['p99 ms', ({ p99Ms }) => p99Ms, formatDecimal(2)],
];

function formatRuns(runs, names) {
  const rows = names.map((name) => {
    const own = runs.filter((run) => run.name === name);
    return [name, ...columns.map(([, pick, format]) => formatSpread(own.map(pick), format))];
  });
  return formatTable(['median (range)', ...columns.map(([name]) => name)], rows);
}

// Last: what is above must exist by then.
await runToEnd(main);
