/**
 * What `bench` found: the object that `--json` prints and `--report` writes. Names are those of the JSON.
 *
 * What is wrong with the events of a run, in words.
 *
 * The file that `--report` names: whole or not there.
 */
import { closeSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { formatCount, round } from '../text.ts';
import type { Freshness } from './compare-receipts.ts';
import { failedShare, type LoadReport, reportLoad, splitCost } from './load-report.ts';
import type { Measurement } from './measure.ts';
import type { Cost } from './process-watch.ts';
import { changedOf, type Reconciliation } from './reconcile.ts';
import type { RunConditions } from './run-conditions.ts';
import { isHeld, type JudgedTerm, judgeSlo, mostErrors, type SloTerm } from './slo.ts';

/** One second of a run. */
interface SecondReport {
  readonly at: number;
  readonly planned: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly failed: number;
  readonly waiting: number;
  /** Null when no request ended in this second. */
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  /** Records that were not delivered yet. */
  readonly lag: number | null;
  readonly collector_resident_bytes: number | null;
}

/** What became of all events, those of the warm-up included. */
export type ReconciliationReport = Reconciliation &
  Readonly<Record<'sent' | 'acknowledged' | 'rejected' | 'unknown', number>>;

/** What it comes to. `unavailable`: the collector or ClickHouse went away in the middle. `failures`: too many requests failed, and no objective says how many may. */
export type BenchVerdict =
  | 'ok'
  | 'loss'
  | 'nothing_acknowledged'
  | 'slo_missed'
  | 'failures'
  | 'unavailable'
  | 'not_delivered'
  | 'stopped';

/** One run of `millrace bench`. */
export interface BenchReport extends RunConditions, LoadReport {
  readonly kind: 'bench';
  readonly verdict: BenchVerdict;
  /** Null without `--slo`. */
  readonly slo: readonly JudgedTerm[] | null;
  readonly streamer_cost: Cost | null;
  /** Why there is no cost; null when there is one. */
  readonly streamer_cost_unknown: string | null;
  /** Why the load could not begin after the warm-up; null when it did. */
  readonly load_error: string | null;
  /** Why nobody knows what is stored; null when somebody does, or did not look. */
  readonly stored_error: string | null;
  readonly reconciliation: ReconciliationReport | null;
  readonly freshness: (Freshness & { readonly new_parts_per_second: number }) | null;
  readonly series: readonly SecondReport[];
}

/** Sums up a run of `millrace bench`. */
export function reportBench(
  environment: RunConditions,
  measurement: Measurement,
  { slo, isStopped }: { readonly slo: readonly SloTerm[] | undefined; readonly isStopped: boolean },
): BenchReport {
  const { stored, load } = measurement;
  const [streamer_cost, streamer_cost_unknown] = splitCost(measurement.streamer);
  const summary = reportLoad(measurement, environment.options.connections);
  const judged = slo === undefined ? null : judgeRun(slo, summary, stored?.reconciliation);
  return {
    kind: 'bench',
    verdict: decide({ measurement, summary, judged, isStopped }),
    ...environment,
    ...summary,
    slo: judged,
    ...{ streamer_cost, streamer_cost_unknown },
    load_error: measurement.loadProblem ?? null,
    stored_error: measurement.storeProblem ?? null,
    reconciliation: reportStored(measurement),
    freshness:
      stored?.freshness === undefined
        ? null
        : {
            ...stored.freshness,
            new_parts_per_second: round(
              stored.freshness.new_parts / Math.max(1, load.receipts.partitions.size) / summary.seconds,
            ),
          },
    series: reportSeries(measurement),
  };
}

/** Judges the objectives. */
export function judgeRun(
  slo: readonly SloTerm[],
  load: LoadReport,
  reconciliation: Reconciliation | undefined,
): readonly JudgedTerm[] {
  const lost = reconciliation && countLost(reconciliation);
  return judgeSlo(slo, { latencyMs: load.latency_ms, errors: failedShare(load), lost });
}

/** Events that are not stored exactly once, as they were posted. */
function countLost(found: Reconciliation): number {
  const { missing, duplicated, repeats_kept, acknowledged_twice, not_delivered } = found;
  return missing + duplicated + repeats_kept + acknowledged_twice + not_delivered + changedOf(found);
}

function decide(found: {
  readonly measurement: Measurement;
  readonly summary: LoadReport;
  readonly judged: readonly JudgedTerm[] | null;
  readonly isStopped: boolean;
}): BenchVerdict {
  const { measurement, summary, judged, isStopped } = found;
  const { loadProblem, stored, storeProblem } = measurement;
  const verdict = stored?.reconciliation.verdict;
  if (verdict === 'loss' || summary.acknowledged_twice > 0) return 'loss';
  // What is not stored when somebody stops waiting may well come.
  if (stored?.isCut === true) return 'stopped';
  if (loadProblem !== undefined || storeProblem !== undefined) return 'unavailable';
  if (isStopped && summary.requests.planned === 0) return 'stopped';
  if (summary.requests.acknowledged === 0) return 'nothing_acknowledged';
  if (verdict === 'not_delivered') return 'not_delivered';
  if (judged !== null && !isHeld(judged)) return 'slo_missed';
  if (isStopped) return 'stopped';
  return judged === null && failedShare(summary) > mostErrors ? 'failures' : 'ok';
}

/** What became of all events; null when nobody looked. */
export function reportStored({ stored }: Measurement): ReconciliationReport | null {
  if (stored === undefined) return null;
  const { sent, acknowledged, rejected, unknown } = stored;
  return { ...stored.reconciliation, sent, acknowledged, rejected, unknown };
}

function reportSeries({ load, processes }: Measurement): SecondReport[] {
  return load.series.map(({ at, planned, sent, acknowledged, failed, waiting, p50Ms, p99Ms }, i) => ({
    at: round(at),
    planned,
    sent,
    acknowledged,
    failed,
    waiting,
    p50_ms: p50Ms === null ? null : round(p50Ms),
    p99_ms: p99Ms === null ? null : round(p99Ms),
    lag: processes[i]?.lag ?? null,
    collector_resident_bytes: processes[i]?.collectorBytes ?? null,
  }));
}

/** A file that is to be written when there is something to write. */
export interface ReportFile {
  /** Puts the file in its place, whole. */
  write(text: string): void;
  /** Takes away what was begun; nothing after `write`. */
  discard(): void;
}

/**
 * Begins to write a file beside the one that is named, so that what cannot be written is found out now, and takes away
 * what an earlier run has left there: a run that fails must not pass for that one.
 * @throws Error of the system when it cannot be written
 */
export function createReportFile(path: string): ReportFile {
  const kind = statSync(path, { throwIfNoEntry: false });
  // A pipe or a terminal: nothing can take its place.
  if (kind !== undefined && !kind.isFile()) {
    closeSync(openSync(path, 'a'));
    return { write: (text) => writeFileSync(path, text), discard: () => {} };
  }
  const temporary = `${path}.${process.pid}.tmp`;
  closeSync(openSync(temporary, 'w'));
  rmSync(path, { force: true });
  return {
    write(text) {
      writeFileSync(temporary, text);
      renameSync(temporary, path);
    },
    discard: () => rmSync(temporary, { force: true }),
  };
}

/** What is wrong, the worst first. */
export function describeFaults({
  reconciliation,
  acknowledged_twice: twice,
}: Pick<BenchReport, 'reconciliation' | 'acknowledged_twice'>): string {
  if (reconciliation === null) return `TWICE: ${formatCount(twice)} receipts issued twice`;
  const { missing, duplicated, repeats_kept, acknowledged_twice, not_delivered } = reconciliation;
  const changed = changedOf(reconciliation);
  const faults = [
    ...(missing > 0 ? [`${formatCount(missing)} acknowledged but not stored`] : []),
    ...(changed > 0 ? [`${formatCount(changed)} not stored as they were posted`] : []),
    ...(duplicated > 0 ? [`${formatCount(duplicated)} stored more than once`] : []),
    ...(repeats_kept > 0 ? [`${formatCount(repeats_kept)} both in repeats and in another table`] : []),
    ...(acknowledged_twice > 0 ? [`${formatCount(acknowledged_twice)} receipts issued twice`] : []),
    ...(not_delivered > 0 ? [`${formatCount(not_delivered)} not stored yet`] : []),
  ];
  const worst = missing > 0 ? 'LOSS' : changed > 0 ? 'CHANGED' : 'TWICE';
  return `${worst}: ${faults.join(', ')}`;
}
