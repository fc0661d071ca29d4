/** Requests per second over time, and from that the moment at which each request is due. */
import { exitCodes, OperatorError } from '../errors.ts';

/** When requests are due, in milliseconds from the start of the run. */
export interface Profile {
  /** As it was written. */
  readonly text: string;
  /** Number of requests, 1 to 1e9. */
  readonly requests: number;
  /** Length, seconds. */
  readonly seconds: number;
  /** When request `n` is due, 0 <= n < requests. Never falls as n grows. */
  plannedMs(n: number): number;
  /** Number of requests that are due before a moment. */
  plannedBefore(ms: number): number;
}

/** A part over which the rate changes evenly. Rates are in requests per second. */
interface Phase {
  readonly from: number;
  readonly to: number;
  readonly seconds: number;
}

/** A phase, and what came before it. */
interface TimedPhase extends Phase {
  readonly startSeconds: number;
  /** Requests of the phases before it; fractions add up over phases. */
  readonly before: number;
}

const maxRate = 1e6;
const maxRequests = 1e9;
const maxPhases = 10_000;
/** Sums of rates times seconds that would be whole numbers are off by less than this. */
const tolerance = 1e-6;

/**
 * Reads parts that run one after the other, joined by commas: `const:RATE:DURATION`, `line:FROM:TO:DURATION`,
 * `step:FROM:TO:BY:DURATION` (of each step). Rates are requests per second, 0 to 1e6, fractions allowed;
 * durations are as 500ms, 30s, 3m or 1h.
 * @throws OperatorError exit 2 that names the part and what it should be
 */
export function parseProfile(text: string): Profile {
  const phases = text.split(',').flatMap((part) => parsePart(part.trim()));
  if (phases.length > maxPhases) throw fault(text, `it has more than ${maxPhases} steps`);
  const placed = place(phases);
  const last = placed.at(-1) as TimedPhase;
  const requests = Math.ceil(last.before + areaOf(last) - tolerance);
  if (requests < 1) throw fault(text, 'it plans no request');
  if (requests > maxRequests)
    throw fault(text, `it plans ${requests} requests; the maximum is ${maxRequests}`);
  const plannedMs = (n: number) => plannedSeconds(placed, n) * 1000;
  return {
    text,
    requests,
    seconds: last.startSeconds + last.seconds,
    plannedMs,
    plannedBefore(ms) {
      const total = requestsUntil(placed, ms / 1000);
      let count = Math.min(requests, Math.max(0, Math.ceil(total)));
      // What is rounded in one direction need not come back in the other.
      while (count < requests && plannedMs(count) < ms) count++;
      while (count > 0 && plannedMs(count - 1) >= ms) count--;
      return count;
    },
  };
}

const forms = 'const:RATE:DURATION, line:FROM:TO:DURATION or step:FROM:TO:BY:DURATION';

function parsePart(part: string): Phase[] {
  const [kind = '', ...values] = part.split(':');
  const wanted = { const: 2, line: 3, step: 4 }[kind];
  if (wanted !== values.length) throw fault(part, `write ${forms}`);
  const seconds = parseDuration(part, values.at(-1) ?? '');
  const [from = 0, to = from, by] = values.slice(0, -1).map((value) => parseRate(part, value));
  return by === undefined ? [{ from, to, seconds }] : createSteps(part, { from, to, by, seconds });
}

function createSteps(part: string, { from, to, by, seconds }: Phase & { by: number }): Phase[] {
  if (by === 0) throw fault(part, 'the size of a step must be above 0');
  const count = Math.floor(Math.abs(to - from) / by + tolerance) + 1;
  if (count > maxPhases) throw fault(part, `it has more than ${maxPhases} steps`);
  return Array.from({ length: count }, (_, i) => {
    const rate = from + Math.sign(to - from) * i * by;
    return { from: rate, to: rate, seconds };
  });
}

function parseRate(part: string, value: string): number {
  const rate = Number(value);
  if (!/^\d+(\.\d+)?(e\d)?$/.test(value) || rate > maxRate)
    throw fault(part, `'${value}' is not a rate: write requests per second, 0 to ${maxRate}`);
  return rate;
}

const unitSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

function parseDuration(part: string, value: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(value);
  const seconds = Number(match?.[1]) * (unitSeconds[match?.[2] ?? ''] ?? Number.NaN);
  if (!(seconds > 0)) throw fault(part, `'${value}' is not a duration: write it like 500ms, 30s, 3m or 1h`);
  return seconds;
}

function fault(text: string, problem: string): OperatorError {
  return new OperatorError(`the profile '${text}' cannot be used: ${problem}`, exitCodes.usage);
}

function place(phases: readonly Phase[]): TimedPhase[] {
  let startSeconds = 0;
  let before = 0;
  return phases.map((phase) => {
    const placed = { ...phase, startSeconds, before };
    startSeconds += phase.seconds;
    before += areaOf(phase);
    return placed;
  });
}

function areaOf({ from, to, seconds }: Phase): number {
  return ((from + to) / 2) * seconds;
}

/** The moment at which the sum of the rates reaches `n`. */
function plannedSeconds(phases: readonly TimedPhase[], n: number): number {
  const phase = findLast(phases, ({ before }) => before <= n + tolerance);
  const { from, to, seconds, startSeconds, before } = phase;
  const rest = Math.max(0, n - before);
  if (rest === 0) return startSeconds;
  const growth = (to - from) / seconds;
  // The root of from t + growth t²/2 = rest, in the form that loses no digits and takes growth 0.
  const root = Math.sqrt(Math.max(0, from * from + 2 * growth * rest));
  return startSeconds + Math.min(seconds, (2 * rest) / (from + root));
}

/** The sum of the rates up to a moment. */
function requestsUntil(phases: readonly TimedPhase[], seconds: number): number {
  const phase = findLast(phases, ({ startSeconds }) => startSeconds <= seconds);
  const { from, to, before, startSeconds } = phase;
  const t = Math.min(Math.max(0, seconds - startSeconds), phase.seconds);
  return before + from * t + ((to - from) / phase.seconds) * (t * t) * 0.5;
}

/** The last phase for which this holds; it holds for the first ones up to some phase. */
function findLast(phases: readonly TimedPhase[], holds: (phase: TimedPhase) => boolean): TimedPhase {
  let low = 0;
  let high = phases.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (holds(phases[middle] as TimedPhase)) low = middle;
    else high = middle - 1;
  }
  return phases[low] as TimedPhase;
}
