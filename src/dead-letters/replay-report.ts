/** What a replay did, or would do, as text and as JSON. */
import { alignColumns, countOf, printable } from '../text.ts';
import type { ReplayResult } from './replay-letters.ts';

const maxPatternCharacters = 120;

/** For people. */
export function formatReplay(result: ReplayResult, dryRun: boolean): string {
  const { replayed, alreadyThere, vanished, closedPlans, refused } = result;
  const lines = [
    dryRun ? `would replay ${replayed}; nothing was changed` : `replayed ${replayed}`,
    `still refused ${refused.count}`,
    `already in events ${alreadyThere}`,
    ...(vanished === 0
      ? []
      : [`accepted by ClickHouse but not in events ${vanished}: a TTL or a person removed them`]),
    ...closedPlans.map(
      ({ plan, rows }) =>
        `plan ${plan} of an earlier replay is closed: ClickHouse accepted it, but events lacks ` +
        `${countOf(rows, 'row')} of it, pending again`,
    ),
  ];
  const rows = refused
    .groups()
    .map(({ count, code, column, reason, first }) => [
      String(count),
      String(code),
      printable(column) || '-',
      `${first.topic}/${first.partition} offset ${first.offset}`,
      printable(reason.slice(0, maxPatternCharacters)),
    ]);
  if (refused.others > 0) rows.push([String(refused.others), '-', '-', '-', 'other reasons']);
  if (rows.length === 0) return lines.join('\n');
  return [...lines, '', ...alignColumns([['REFUSED', 'CODE', 'COLUMN', 'FIRST', 'REASON'], ...rows], 2)].join(
    '\n',
  );
}

/** One line. */
export function formatReplayJson(result: ReplayResult, dryRun: boolean): string {
  const { replayed, alreadyThere, vanished, closedPlans, refused } = result;
  return JSON.stringify({
    dry_run: dryRun,
    replayed,
    refused: refused.count,
    already_there: alreadyThere,
    vanished,
    closed_plans: closedPlans,
    reasons: refused.groups(),
    other_reasons: refused.others,
  });
}
