/** Looks at a canary in Prometheus and decides whether the roll-out may go on. `--help` says how. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const help = `Watches collectors of a new version in Prometheus: exits 0 when they are as good as they must be.

Usage: node .ci/canary.mjs --prometheus http://127.0.0.1:9090 --canary 'instance=~"10.0.1.7:.+"' [options]

  --prometheus <url>      Where Prometheus answers queries (variable PROMETHEUS_URL).
  --canary <matchers>     Label matchers that select the canary, as in PromQL.
  --stable <matchers>     Those of the collectors beside it, whose share of rejected events is the measure.
  --for <duration>        How long to watch; default 10m. 0s: one look decides.
  --every <duration>      From one look to the next; default 30s.
  --window <duration>     What each look is about, at least four scrapes long; default 2m.
  --min-events <n>        Fewer events in the window decide nothing; default 100.
  --min-accepted <share>  Of the valid events and of the requests, those not answered with 5xx; default 0.999.
  --max-rejected <share>  By how much the share of rejected events may exceed that of --stable; default 0.01.
  --max-p99 <duration>    99th percentile of the time of a post; default 250ms.

Two bad looks in a row, or a bad last one, refuse the canary: one bad look may be a scrape that was late.
Exit codes: 0 promote, 99 refuse, 69 Prometheus does not answer, 2 wrong usage.
`;
const exitCodes = { promote: 0, usage: 2, unavailable: 69, refuse: 99 };
const milliseconds = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const log = (line) => process.stderr.write(`${line}\n`);

class UsageError extends Error {}
class PrometheusError extends Error {}

async function main() {
  const options = readOptions();
  if (options === undefined) return exitCodes.promote;
  const end = Date.now() + options.watchMs;
  let bad = 0;
  for (let look = 1; ; look++) {
    const faults = await findFaults(options);
    for (const fault of faults) log(`look ${look}: ${fault}`);
    if (faults.length === 0) log(`look ${look}: good`);
    bad = faults.length === 0 ? 0 : bad + 1;
    const isLast = Date.now() + options.everyMs > end;
    if (bad === 2 || (isLast && bad > 0)) return refuse(faults);
    if (isLast) {
      log('the canary is good: promote it');
      return exitCodes.promote;
    }
    await sleep(options.everyMs);
  }
}

function refuse(faults) {
  log(`the canary is refused: ${faults.join('; ')}`);
  return exitCodes.refuse;
}

/** What is wrong with the canary now; what cannot be known counts as wrong. */
async function findFaults({ prometheus, canary, stable, limits }) {
  const measured = await measure(prometheus, canary, limits.window);
  const down = measured.targets - measured.up;
  if (!(measured.targets > 0)) return [`Prometheus scrapes no collector with ${canary}`];
  if (down > 0) return [`${down} of ${measured.targets} collectors of the canary are down`];
  if (!(measured.events >= limits.minEvents))
    return [
      `${count(measured.events)} events in ${limits.window} are too few to judge by: ${limits.minEvents} are needed`,
    ];
  const rejectedLimit = limits.maxRejected + (await rejectedOf(prometheus, stable, limits.window));
  return [
    below('accepted events', measured.accepted, limits.minAccepted),
    below('requests without 5xx', measured.answered, limits.minAccepted),
    above('rejected events', measured.rejected, rejectedLimit, percent),
    above('p99', measured.p99, limits.maxP99, (value) => `${(value * 1_000).toFixed(0)} ms`),
  ].filter(Boolean);
}

function below(what, value, limit) {
  return value >= limit ? undefined : `${what} ${percent(value)} are below ${percent(limit)}`;
}

function above(what, value, limit, format) {
  return value <= limit ? undefined : `${what} ${format(value)} is above ${format(limit)}`;
}

async function measure(prometheus, matchers, window) {
  const sum = (metric, more = '') =>
    `(sum(increase(${metric}{${[matchers, more].filter(Boolean)}}[${window}])) or vector(0))`;
  const [accepted, failed, rejected] = ['accepted', 'failed', 'rejected'].map((kind) =>
    sum(`millrace_events_${kind}_total`),
  );
  const requests = sum('millrace_http_requests_total');
  const failures = sum('millrace_http_requests_total', 'status=~"5.."');
  const buckets = `rate(millrace_http_request_duration_seconds_bucket{${matchers}}[${window}])`;
  const queries = {
    targets: `count(up{${matchers}})`,
    up: `sum(up{${matchers}})`,
    events: `${accepted} + ${failed} + ${rejected}`,
    accepted: `${accepted} / (${accepted} + ${failed})`,
    answered: `1 - ${failures} / ${requests}`,
    rejected: `${rejected} / (${accepted} + ${failed} + ${rejected})`,
    p99: `histogram_quantile(0.99, sum by (le) (${buckets}))`,
  };
  const values = Object.entries(queries).map(async ([name, query]) => [name, await ask(prometheus, query)]);
  return Object.fromEntries(await Promise.all(values));
}

/** Clients that send nonsense do so to every version. */
async function rejectedOf(prometheus, stable, window) {
  if (stable === undefined) return 0;
  const { rejected } = await measure(prometheus, stable, window);
  return Number.isNaN(rejected) ? 0 : rejected;
}

/** The value of a query that gives one; NaN when there is none. @throws PrometheusError */
async function ask(prometheus, query) {
  try {
    const response = await fetch(new URL('/api/v1/query', prometheus), {
      method: 'POST',
      body: new URLSearchParams({ query }),
      signal: AbortSignal.timeout(10_000),
    });
    const { status, error, data } = await response.json();
    if (status !== 'success') throw new Error(error);
    return Number(data.result[0]?.value[1] ?? Number.NaN);
  } catch (error) {
    const reason = error.cause?.message ?? error.message;
    throw new PrometheusError(
      `Prometheus at ${prometheus} did not answer '${query}': ${reason}. Check --prometheus`,
    );
  }
}

function readOptions() {
  const text = { type: 'string' };
  const { values } = parseArgs({
    options: {
      prometheus: { ...text, default: process.env.PROMETHEUS_URL },
      canary: text,
      stable: text,
      for: { ...text, default: '10m' },
      every: { ...text, default: '30s' },
      window: { ...text, default: '2m' },
      'min-events': { ...text, default: '100' },
      'min-accepted': { ...text, default: '0.999' },
      'max-rejected': { ...text, default: '0.01' },
      'max-p99': { ...text, default: '250ms' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return void process.stdout.write(help);
  for (const name of ['prometheus', 'canary'])
    if (!values[name]) throw new UsageError(`--${name} is needed: see --help`);
  readMs('window', values);
  return {
    prometheus: values.prometheus,
    canary: values.canary,
    stable: values.stable || undefined,
    watchMs: readMs('for', values),
    everyMs: Math.max(readMs('every', values), 1),
    limits: {
      window: values.window,
      minEvents: readNumber('min-events', values),
      minAccepted: readNumber('min-accepted', values),
      maxRejected: readNumber('max-rejected', values),
      maxP99: readMs('max-p99', values) / 1_000,
    },
  };
}

function readMs(name, values) {
  const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(values[name]) ?? [];
  if (unit === undefined)
    throw new UsageError(`--${name} is a duration, as 250ms, 30s or 10m, not '${values[name]}'`);
  return number * milliseconds[unit];
}

function readNumber(name, values) {
  const number = Number(values[name]);
  if (values[name] === '' || !(number >= 0))
    throw new UsageError(`--${name} is a number, not '${values[name]}'`);
  return number;
}

function percent(share) {
  return Number.isNaN(share) ? 'unknown' : `${(share * 100).toFixed(2)}%`;
}

function count(number) {
  return Number.isNaN(number) ? 'no' : Math.round(number).toLocaleString('en');
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage = error instanceof UsageError || String(error.code).startsWith('ERR_PARSE_ARGS');
  if (!isUsage && !(error instanceof PrometheusError)) throw error;
  log(error.message);
  process.exitCode = isUsage ? exitCodes.usage : exitCodes.unavailable;
}
