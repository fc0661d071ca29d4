/** The report of a run for a person: the verdict first. */
import { countOf, formatCount, formatDigits, formatMs, formatShare } from '../text.ts';
import type { ContentFinding } from './content.ts';
import { formatConditions, formatCost, formatLoad, joinLines, type Line } from './format-lines.ts';
import { failedShare } from './load-report.ts';
import { type BenchReport, describeFaults, type ReconciliationReport } from './report.ts';
import { mostErrors } from './slo.ts';

const mostRanges = 5;

/** The report as text, several lines. */
export function formatBench(report: BenchReport): string {
  const { reconciliation, freshness, slo, warnings } = report;
  const lines: Line[] = [
    ...formatLoad(report),
    ...formatCost('collector', 'event', {
      cost: report.collector_cost,
      unknown: report.collector_cost_unknown,
    }),
    ...formatCost('streamer', 'row', { cost: report.streamer_cost, unknown: report.streamer_cost_unknown }),
    ...(report.stored_error === null ? [] : [['stored', `error: ${report.stored_error}`] as const]),
    ...(reconciliation === null ? [] : formatReconciliation(reconciliation)),
    ...(freshness === null ? [] : formatFreshness(freshness)),
    ...(slo ?? []).map(
      ({ text, value, holds }): Line => ['objective', `${text}: ${holds ? 'holds' : 'MISSED'}, ${value}`],
    ),
    ['', ''],
    ...formatConditions(report),
  ];
  const notes = [...warnings, ...collectNotes(report)];
  return [verdictOf(report), '', ...joinLines(lines), ...notes.flatMap((note) => ['', note]), ''].join('\n');
}

function verdictOf(report: BenchReport): string {
  const { reconciliation } = report;
  const figures = formatHeadline(report);
  const stored = sayStored(report);
  switch (report.verdict) {
    case 'ok':
      // As many failures as an objective of its own allows are no reason to call it all right.
      return `${failedShare(report) > mostErrors ? 'HOLDS' : 'OK'}: ${figures}; ${stored}.`;
    case 'failures':
      return `FAILURES: ${formatShare(failedShare(report))} of the requests failed; ${figures}; ${stored}.`;
    case 'stopped':
      return report.requests.planned === 0
        ? `STOPPED before anything was measured; ${stored}.`
        : `STOPPED after ${report.seconds.toFixed(1)} s: ${figures}; ${stored}.`;
    case 'unavailable':
      return report.load_error === null
        ? `UNAVAILABLE: ${stored}; ${figures}.`
        : `UNAVAILABLE after the warm-up: ${report.load_error}; ${stored}.`;
    case 'slo_missed':
      return `MISSED: ${missedOf(report)}. ${figures}; ${stored}.`;
    case 'nothing_acknowledged':
      return `NOTHING ACKNOWLEDGED: all of ${formatCount(report.requests.planned)} requests failed.`;
    case 'not_delivered':
      return `NOT DELIVERED: ${formatCount(reconciliation?.not_delivered ?? 0)} acknowledged events are not stored yet; ${figures}.`;
    case 'loss':
      return `${describeFaults(report)}; ${figures}.`;
  }
}

function sayStored({ reconciliation, stored_error }: BenchReport): string {
  if (stored_error !== null) return 'the stored events are not known';
  if (reconciliation === null) return 'the stored events were not checked';
  const { receipts, not_delivered, content } = reconciliation;
  const isAsPosted = content !== null && content.unchecked + content.different === 0;
  return not_delivered > 0
    ? `${formatCount(not_delivered)} of ${formatCount(receipts)} acknowledged events are not stored yet`
    : `each of ${formatCount(receipts)} acknowledged events is stored exactly once${isAsPosted ? ', as it was posted' : ''}`;
}

/** Rates, latencies, and what did not go well, if anything. */
function formatHeadline({ asked_rate, achieved_rate, latency_ms, requests, events }: BenchReport): string {
  return [
    `${formatDigits(achieved_rate)} of ${formatDigits(asked_rate)} requests/s`,
    `p50 ${formatMs(latency_ms.p50)}`,
    `p99 ${formatMs(latency_ms.p99)}`,
    ...(requests.failed > 0 ? [`${formatCount(requests.failed)} failed`] : []),
    ...(events.rejected > 0 ? [`${countOf(events.rejected, 'event')} rejected`] : []),
    ...(events.unknown > 0 ? [`${countOf(events.unknown, 'event')} unknown`] : []),
  ].join(', ');
}

function missedOf({ slo }: BenchReport): string {
  return (slo ?? [])
    .filter(({ holds }) => !holds)
    .map(({ text, value }) => `${text} (${value})`)
    .join(', ');
}

function formatReconciliation(found: ReconciliationReport): Line[] {
  const { missing_ranges, duplicated_ranges, not_delivered_ranges } = found;
  const counted = [
    `${formatCount(found.receipts)} receipts: ${formatCount(found.stored)} stored`,
    `${formatCount(found.missing)} missing`,
    `${formatCount(found.duplicated)} twice`,
    ...(found.not_delivered > 0 ? [`${formatCount(found.not_delivered)} not delivered yet`] : []),
    ...(found.dead_letters > 0 ? [`${formatCount(found.dead_letters)} dead letters`] : []),
    ...(found.repeats > 0 ? [`${formatCount(found.repeats)} repeats`] : []),
  ];
  const range =
    (what: string) =>
    ({ partition, start, end }: { partition: number; start: number; end: number }): Line => [
      'reconciled',
      `partition ${partition}: ${end === start + 1 ? `offset ${start}` : `offsets ${start} to ${end - 1}`} ${what}`,
    ];
  return [
    [
      'reconciled',
      `${formatCount(found.sent)} events sent, warm-up included = ${formatCount(found.acknowledged)} acknowledged + ` +
        `${formatCount(found.rejected)} rejected + ${formatCount(found.unknown)} unknown`,
    ],
    ['reconciled', `${counted.join(', ')}; after ${found.waited_seconds.toFixed(1)} s`],
    ...missing_ranges.slice(0, mostRanges).map(range('missing')),
    ...duplicated_ranges.slice(0, mostRanges).map(range('more than once')),
    ...not_delivered_ranges.slice(0, mostRanges).map(range('not delivered yet')),
    ...(found.content === null ? [] : formatContent(found.content)),
  ];
}

function formatContent({
  checked,
  different,
  unchecked,
  unchecked_reason,
  strange_events,
}: ContentFinding): Line[] {
  const counted = [
    `${formatCount(checked)} as they were posted`,
    ...(different > 0 ? [`${formatCount(different)} otherwise`] : []),
    ...(unchecked > 0 ? [`${formatCount(unchecked)} not checked: ${unchecked_reason}`] : []),
  ];
  return [
    ['content', counted.join(', ')],
    ...strange_events
      .slice(0, mostRanges)
      .map(
        ({ partition, offset }): Line => [
          'content',
          `partition ${partition}: offset ${offset} does not match what was posted`,
        ],
      ),
  ];
}

function formatFreshness(freshness: NonNullable<BenchReport['freshness']>): Line[] {
  const { p50_ms, p99_ms, max_ms, new_parts_per_second } = freshness;
  return [
    [
      'freshness',
      `p50 ${formatMs(p50_ms)}, p99 ${formatMs(p99_ms)}, max ${formatMs(max_ms)}, from received to stored; ` +
        `new parts: ${formatDigits(new_parts_per_second)} per second and partition`,
    ],
  ];
}

function collectNotes({ reconciliation, collector_cost, events }: BenchReport): string[] {
  const notes: string[] = [];
  if ((reconciliation?.other_topic_ids.length ?? 0) > 0)
    notes.push(
      `Rows of ${(reconciliation?.other_topic_ids.length ?? 0) + 1} topics with the name ${reconciliation?.topic} lie at these offsets and are of ` +
        `about this time. The topic with the most rows, ${reconciliation?.topic_id}, was taken for the topic of this run. ` +
        'If that is not so, the figures for stored events are wrong.',
    );
  if (reconciliation?.verdict === 'not_delivered')
    notes.push(
      'ClickHouse alone cannot tell whether the missing events are still on their way or lost: check that the streamer ' +
        'runs, give more time with --wait, or run millrace verify where the buffer can be read.',
    );
  const counted =
    collector_cost?.is_counted_by_process === true ? collector_cost.events : events.acknowledged;
  if (Math.abs(counted - events.acknowledged) > 0.01 * events.acknowledged)
    notes.push(
      `The collector counted ${formatCount(counted)} events in this time, and ${formatCount(events.acknowledged)} were acknowledged here: ` +
        'either other clients posted as well, or several collectors share this address and only one of them was asked. Its ' +
        'cost per event refers to the events that it counted.',
    );
  return notes;
}
