/** A report for a person: the verdict first. */
import { alignColumns, formatCount } from '../text.ts';
import type { Range } from './ranges.ts';
import type { Counts, PartitionReport, Report } from './report.ts';

const mostRanges = 10;
const mostPartitions = 64;

/** The report as text, several lines. */
export function formatReport(report: Report): string {
  return [
    verdictOf(report),
    '',
    ...formatPartitions(report),
    ...formatFaults(report),
    ...formatContent(report),
    ...formatReceipts(report),
    ...report.notes.flatMap((note) => ['', note]),
    '',
  ].join('\n');
}

function verdictOf({ verdict, total, receipts, content, seconds }: Report): string {
  const compared = `${offsetsText(total.offsets)} compared in ${seconds.toFixed(1)} s`;
  const open = [
    ...(total.in_flight > 0 ? [`${formatCount(total.in_flight)} in flight`] : []),
    ...(total.waiting > 0 ? [`${formatCount(total.waiting)} waiting`] : []),
  ];
  const rest = open.length === 0 ? '.' : `; ${open.join(', ')}.`;
  if (verdict === 'ok')
    return `${(content?.checked ?? 0) > 0 ? 'No loss, no duplicates, no changes' : 'No loss, no duplicates'}: ${compared}${rest}`;
  if (verdict === 'not_delivered')
    return `Not delivered yet, no loss and no duplicates so far: ${compared}${rest}`;
  const lostReceipts = receipts === null ? 0 : receipts.missing + receipts.unknown;
  const faults = [
    ...(total.missing > 0 ? [`${formatCount(total.missing)} missing`] : []),
    ...(lostReceipts > 0 ? [`${formatCount(lostReceipts)} acknowledged but missing`] : []),
    ...(total.duplicated > 0 ? [`${formatCount(total.duplicated)} stored more than once`] : []),
    ...((receipts?.spooled_duplicated ?? 0) > 0
      ? [`${formatCount(receipts?.spooled_duplicated ?? 0)} spooled events stored more than once`]
      : []),
    ...(total.repeats_kept > 0
      ? [`${formatCount(total.repeats_kept)} both in repeats and in another table`]
      : []),
    ...(total.foreign > 0 ? [`${formatCount(total.foreign)} rows without a record`] : []),
    ...((content?.different ?? 0) > 0
      ? [`${formatCount(content?.different ?? 0)} with different bytes`]
      : []),
  ];
  return `${faultWord(total, lostReceipts, receipts)}: ${faults.join(', ')}; ${compared}${rest}`;
}

function faultWord(
  { missing, duplicated, repeats_kept, foreign }: Counts,
  lostReceipts: number,
  receipts: Report['receipts'],
): string {
  if (missing + lostReceipts > 0) return 'LOSS';
  if (foreign > 0) return 'FOREIGN ROWS';
  return duplicated + repeats_kept + (receipts?.spooled_duplicated ?? 0) > 0 ? 'TWICE' : 'CHANGED';
}

const columns: readonly [title: string, countOf: (counts: Counts) => number][] = [
  ['offsets', ({ offsets }) => offsets],
  ['rows', ({ rows }) => rows],
  ['dead letters', ({ dead_letters }) => dead_letters],
  ['repeats', ({ repeats }) => repeats],
  ['gaps', ({ gaps }) => gaps],
  ['missing', ({ missing }) => missing],
  ['twice', ({ duplicated }) => duplicated],
  ['kept repeats', ({ repeats_kept }) => repeats_kept],
  ['foreign', ({ foreign }) => foreign],
  ['in flight', ({ in_flight }) => in_flight],
  ['waiting', ({ waiting }) => waiting],
];

function formatPartitions({ partitions, total }: Report): string[] {
  const shown =
    partitions.length <= mostPartitions ? partitions : partitions.filter(hasFault).slice(0, mostPartitions);
  // A fault that only a defect of the streamer brings about: no column for it in every report.
  const counted = columns.filter(([title]) => title !== 'kept repeats' || total.repeats_kept > 0);
  const rows = [
    ['partition', 'from', 'to', ...counted.map(([title]) => title), 'oldest undelivered'],
    ...shown.map((partition) => [
      String(partition.partition),
      String(partition.checked.start),
      String(partition.checked.end),
      ...counted.map(([, countOf]) => formatCount(countOf(partition))),
      partition.oldest_undelivered_seconds === null ? '' : `${partition.oldest_undelivered_seconds} s`,
    ]),
    ['total', '', '', ...counted.map(([, countOf]) => formatCount(countOf(total))), ''],
  ];
  const lines = alignColumns(rows, Number.POSITIVE_INFINITY);
  const hidden = partitions.length - shown.length;
  return hidden === 0 ? lines : [...lines, `${hidden} partitions without a fault are not shown.`];
}

function hasFault({ missing, duplicated, repeats_kept, foreign }: PartitionReport): boolean {
  return missing + duplicated + repeats_kept + foreign > 0;
}

function formatFaults({ partitions, foreign_rows }: Report): string[] {
  const faults = partitions.filter(hasFault).slice(0, mostPartitions);
  const lines = faults.flatMap(({ partition, missing_ranges, duplicated_ranges, repeats_kept_ranges }) => [
    ...listOf(missing_ranges, (range) => `  ${partition}: ${rangeText(range)} missing`),
    ...listOf(
      duplicated_ranges,
      ({ rows, ...range }) => `  ${partition}: ${rangeText(range)} ${rows === 2 ? 'twice' : `${rows} times`}`,
    ),
    ...listOf(
      repeats_kept_ranges,
      (range) => `  ${partition}: ${rangeText(range)} both in repeats and in another table`,
    ),
  ]);
  const foreign = listOf(
    foreign_rows,
    ({ table, partition, rows, first, last }) =>
      `  ${formatCount(rows)} rows in ${table} say partition ${partition}, ${rangeText({ start: first, end: last + 1 })}, which the buffer does not have`,
  );
  return lines.length + foreign.length === 0 ? [] : ['', ...lines, ...foreign];
}

function formatContent({ content }: Report): string[] {
  if (content === null) return [];
  const { checked, unchecked, different, partitions } = content;
  const parts = [
    `${formatCount(checked)} as they were posted`,
    ...(different > 0 ? [`${formatCount(different)} not`] : []),
    ...(unchecked > 0 ? [`${formatCount(unchecked)} cannot be checked`] : []),
  ];
  return [
    '',
    `Content: ${parts.join(', ')}.`,
    ...partitions.flatMap(({ partition, different_ranges }) =>
      listOf(different_ranges, (range) => `  ${partition}: ${rangeText(range)} with different bytes`),
    ),
  ];
}

function formatReceipts({ receipts }: Report): string[] {
  if (receipts === null) return [];
  const { receipts: total, delivered, pending, missing, unknown, spooled_not_found } = receipts;
  const parts = [
    `${formatCount(delivered)} delivered`,
    ...(pending > 0 ? [`${formatCount(pending)} in flight or waiting`] : []),
    ...(missing > 0 ? [`${formatCount(missing)} missing`] : []),
    ...(unknown > 0 ? [`${formatCount(unknown)} acknowledged, but the buffer does not hold them`] : []),
    ...(spooled_not_found > 0 ? [`${formatCount(spooled_not_found)} spooled and not found yet`] : []),
  ];
  return [
    '',
    `Receipts: ${formatCount(total)}; ${parts.join(', ')}.`,
    ...listOf(receipts.lost, ({ partition, ...range }) => `  ${partition}: ${rangeText(range)} lost`),
    ...listOf(receipts.not_found, ({ spool, ...range }) => `  ${spool}: ${rangeText(range)} not found yet`),
  ];
}

function listOf<T>(items: readonly T[], format: (item: T) => string): string[] {
  const lines = items.slice(0, mostRanges).map(format);
  return items.length > mostRanges ? [...lines, '  ... more: see --json'] : lines;
}

/** Offsets as people name them: both ends included. */
function rangeText({ start, end }: Range): string {
  return end === start + 1 ? `offset ${start}` : `offsets ${start} to ${end - 1}`;
}

function offsetsText(offsets: number): string {
  return offsets === 1 ? '1 offset' : `${formatCount(offsets)} offsets`;
}
