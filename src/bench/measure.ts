/**
 * One measured run: warm-up, load, what it cost, and what became of the events.
 *
 * The receipts of several runs together.
 */
import { exitCodes, OperatorError } from '../errors.ts';
import { countOf, formatCount } from '../text.ts';
import { RangeSet } from '../verify/ranges.ts';
import type { Receipts } from '../verify/receipts.ts';
import { type Freshness, readFreshness } from './compare-receipts.ts';
import { emptyLoad, type LoadOptions, type LoadResult, runLoad } from './load.ts';
import type { CostFound, ProcessWatch } from './process-watch.ts';
import { type Profile, parseProfile } from './profile.ts';
import type { Progress } from './progress.ts';
import { awaitDelivery, type Reconciliation, reconcile } from './reconcile.ts';
import type { Store } from './store.ts';

/** What is measured, and how it is spoken to. */
export interface BenchTarget {
  /** Where to post, and how; the same for every run. */
  readonly load: Omit<LoadOptions, 'profile' | 'stop' | 'onSecond' | 'onStopping'>;
  /** Load before each run, which no figure counts, milliseconds. */
  readonly warmUpMs: number;
  readonly collector: ProcessWatch;
  readonly streamer: ProcessWatch;
  /** Where the events end up; undefined: it is not looked at. */
  readonly store: Store | undefined;
  readonly topic: string;
  /** Longest time to wait for delivery, milliseconds. */
  readonly waitMs: number;
  readonly progress: Progress;
  readonly stop: AbortSignal;
}

/** What the processes looked like in one second of the run; undefined where they do not say. */
interface ProcessSecond {
  readonly lag: number | undefined;
  readonly collectorBytes: number | undefined;
}

/** What one run came to. */
export interface Measurement {
  readonly profile: Profile;
  readonly load: LoadResult;
  /** By second, as {@link LoadResult.series}. */
  readonly processes: readonly ProcessSecond[];
  /** Why the load could not begin after the warm-up; undefined when it did. */
  readonly loadProblem: string | undefined;
  readonly collector: CostFound;
  readonly streamer: CostFound;
  /** Events of the warm-up and of the run that were acknowledged by the receipt of another one. */
  readonly acknowledgedTwice: number;
  /** Undefined when nobody looked, or looked in vain. Counts the events of the warm-up, too. */
  readonly stored: Stored | undefined;
  /** Why nobody knows what is stored; undefined when somebody does, or did not look. */
  readonly storeProblem: string | undefined;
}

/** What became of the events of a run. */
interface Stored {
  readonly reconciliation: Reconciliation;
  readonly freshness: Freshness | undefined;
  /** Whether the waiting was stopped. */
  readonly isCut: boolean;
  /** Events of the warm-up and of the run. */
  readonly sent: number;
  readonly acknowledged: number;
  readonly rejected: number;
  readonly unknown: number;
}

/** A run that was stopped before anything was measured. */
export class StoppedError extends OperatorError {
  constructor() {
    super('stopped before anything was measured', exitCodes.failure);
  }
}

/**
 * A look at `/metrics` takes some milliseconds of CPU, as much as some hundred events: done every second it would be
 * a part of what an event costs at low rates.
 */
const collectorEverySeconds = 5;

/**
 * Measures one run. With `reconciles`, what the warm-up has sent is looked for also when the run cannot begin.
 * @throws OperatorError exit 69 when the collector takes nothing
 * @throws StoppedError when it was stopped in the warm-up, and nothing is to be looked for
 */
export async function measure(
  site: BenchTarget,
  profile: Profile,
  { reconciles }: { readonly reconciles: boolean },
): Promise<Measurement> {
  const { collector, streamer, progress, stop } = site;
  const warmUp = await runWarmUp(site, profile);
  const isKept = reconciles && warmUp !== undefined;
  if (stop.aborted && !isKept) throw new StoppedError();
  await Promise.all([collector.begin(), streamer.begin()]);
  const run = await runMeasured(site, profile).catch((error: unknown) => {
    if (!isKept || !(error instanceof OperatorError)) throw error;
    return { load: emptyLoad(), processes: [], loadProblem: error.message };
  });
  const collectorCost = await collector.end(run.load.eventsAcknowledged);
  const runs = warmUp === undefined ? [run.load] : [warmUp, run.load];
  const found = reconciles ? await tryFollowUp(site, runs) : notFollowed;
  const streamerCost = await streamer.end(undefined);
  progress.clear();
  const acknowledgedTwice = countTwice(runs);
  return { profile, ...run, collector: collectorCost, streamer: streamerCost, acknowledgedTwice, ...found };
}

/** Runs the load and watches the processes meanwhile; the load is empty when it was stopped before. */
async function runMeasured(
  { load: base, collector, streamer, progress, stop }: BenchTarget,
  profile: Profile,
): Promise<Pick<Measurement, 'load' | 'processes' | 'loadProblem'>> {
  const processes: ProcessSecond[] = [];
  if (stop.aborted) return { load: emptyLoad(), processes, loadProblem: undefined };
  const load = await runLoad({
    ...base,
    profile,
    stop,
    onStopping: sayStopping({ load: base, progress }),
    onSecond(second) {
      processes.push({ lag: streamer.lag, collectorBytes: collector.residentBytes });
      progress.second(second, streamer.lag);
      if (processes.length % collectorEverySeconds === 0) void collector.look();
      void streamer.look();
    },
  });
  return { load, processes, loadProblem: undefined };
}

function sayStopping({ load, progress }: Pick<BenchTarget, 'load' | 'progress'>): (requests: number) => void {
  return (requests) =>
    progress.line(
      `stopping: waiting for ${countOf(requests, 'answer')}, at most ${load.answerTimeoutMs / 1_000} s; ` +
        'Ctrl-C again ends at once',
    );
}

/** Runs the first rate of the profile for a while. */
async function runWarmUp(
  { load, warmUpMs, progress, stop }: BenchTarget,
  profile: Profile,
): Promise<LoadResult | undefined> {
  if (warmUpMs === 0) return undefined;
  progress.step('warming up');
  const firstSeconds = Math.min(1, profile.seconds);
  const rate = Math.max(1, profile.plannedBefore(firstSeconds * 1_000) / firstSeconds);
  const text = `const:${Number(rate.toPrecision(6))}:${warmUpMs}ms`;
  const onStopping = sayStopping({ load, progress });
  const result = await runLoad({ ...load, profile: parseProfile(text), stop, onStopping });
  if (result.acknowledged > 0 || stop.aborted) return result;
  const [failure] = result.failures;
  throw new OperatorError(
    `the collector at ${load.url.origin} accepted none of the ${result.planned} warm-up requests` +
      `${failure === undefined ? '' : `: ${failure.reason}`}. See its log and /status`,
    exitCodes.unavailable,
  );
}

const notFollowed = { stored: undefined, storeProblem: undefined };

/** What was measured must not be thrown away because ClickHouse has gone meanwhile. */
async function tryFollowUp(
  site: BenchTarget,
  runs: readonly LoadResult[],
): Promise<Pick<Measurement, 'stored' | 'storeProblem'>> {
  const { store } = site;
  if (store === undefined) return notFollowed;
  try {
    return { stored: await followUp(site, store, runs), storeProblem: undefined };
  } catch (error) {
    const explained = store.explain(error);
    if (!(explained instanceof OperatorError)) throw error;
    return { stored: undefined, storeProblem: explained.message };
  }
}

/** Waits until everything is stored, and compares. */
async function followUp(
  { load: { payload }, topic, waitMs, progress, stop }: BenchTarget,
  store: Store,
  runs: readonly LoadResult[],
): Promise<Stored> {
  const sum = (numberOf: (run: LoadResult) => number) =>
    runs.reduce((total, run) => total + numberOf(run), 0);
  const acknowledged = sum((run) => run.eventsAcknowledged);
  progress.step(`waiting until ${formatCount(acknowledged)} events are stored`);
  const receipts = mergeReceipts(runs.map((run) => run.receipts));
  // The signal that ended the load early does not end the waiting: what was sent is still to be found.
  const isStoppedBefore = stop.aborted;
  const ends = isStoppedBefore ? new AbortController().signal : stop;
  const posted = { payload, acknowledged: sumBodies(runs) };
  const reconciliation = await reconcile(store, {
    topic,
    receipts,
    acknowledged,
    posted,
    waitMs,
    stop: ends,
  });
  const { topic_id: topicId } = reconciliation;
  const measured = runs.at(-1)?.receipts;
  const freshness =
    topicId === null || measured === undefined
      ? undefined
      : await readFreshness(store, { topic, topicId }, measured);
  return {
    reconciliation,
    freshness,
    isCut: stop.aborted && !isStoppedBefore,
    sent: sum((run) => run.eventsSent),
    acknowledged,
    rejected: sum((run) => run.eventsRejected),
    unknown: sum((run) => run.eventsUnknown),
  };
}

/** By body, how many posts of all runs had every event acknowledged. */
function sumBodies(runs: readonly LoadResult[]): number[] {
  const sums: number[] = [];
  for (const { acknowledgedBodies } of runs)
    for (let i = 0; i < acknowledgedBodies.length; i++)
      sums[i] = (sums[i] ?? 0) + (acknowledgedBodies[i] as number);
  return sums;
}

/**
 * Waits, as long as a run may wait, until what a run has sent is stored, so that the next one finds no backlog.
 * @returns whether it is
 * @throws OperatorError exit 69 when ClickHouse does not answer
 */
export async function settle(
  { store, topic, waitMs, progress, stop }: BenchTarget,
  load: LoadResult,
): Promise<boolean> {
  if (store === undefined) return true;
  progress.step('waiting until everything is stored');
  try {
    return await awaitDelivery(store, { topic, receipts: load.receipts, waitMs, stop });
  } catch (error) {
    throw store.explain(error);
  } finally {
    progress.clear();
  }
}

/** Events that answers acknowledged by receipts which other answers have given, too: it takes no look at the tables. */
function countTwice(runs: readonly LoadResult[]): number {
  const { partitions, spools } = mergeReceipts(runs.map(({ receipts }) => receipts));
  const acknowledged = runs.reduce((total, run) => total + run.eventsAcknowledged, 0);
  const distinct = [...partitions.values(), ...spools.values()].reduce(
    (total, set) => total + set.offsets,
    0,
  );
  return Math.max(0, acknowledged - distinct);
}

/** All receipts together. */
function mergeReceipts(list: readonly Receipts[]): Receipts {
  return {
    partitions: mergeSets(list.map(({ partitions }) => partitions)),
    spools: mergeSets(list.map(({ spools }) => spools)),
  };
}

function mergeSets<K>(list: readonly ReadonlyMap<K, RangeSet>[]): Map<K, RangeSet> {
  const merged = new Map<K, RangeSet>();
  for (const [key, set] of list.flatMap((sets) => [...sets])) {
    const whole = merged.get(key) ?? new RangeSet();
    for (const range of set) whole.add(range.start, range.end);
    merged.set(key, whole);
  }
  return merged;
}
