/** Dead letters as text for people, and as JSON. */
import { isUtf8 } from 'node:buffer';
import { printable } from '../printable.ts';
import { alignColumns, countOf } from '../text-table.ts';
import type { LetterGroup, StoredLetter } from './read-letters.ts';

const maxRawCharacters = 500;
const maxPatternCharacters = 120;

/** `replayed`: it is a row of `events`. */
export type LetterState = 'pending' | 'replayed';

/** The groups as a table. */
export function formatGroups(groups: readonly LetterGroup[], table: string): string {
  const pending = groups.reduce((sum, group) => sum + group.pending, 0);
  const replayed = groups.reduce((sum, group) => sum + group.replayed, 0);
  const head = `${countOf(pending + replayed, 'dead letter')} in ${table}: ${pending} pending, ${replayed} replayed`;
  if (groups.length === 0) return head;
  const rows = groups.map((group) => {
    const isOthers = group.kinds > 1;
    return [
      String(group.pending),
      String(group.replayed),
      isOthers ? '-' : String(group.code),
      isOthers ? '-' : printable(group.column) || '-',
      formatTime(group.firstAt),
      formatTime(group.lastAt),
      isOthers
        ? `${group.kinds} other reasons: see --reason and --json`
        : printable(group.pattern.slice(0, maxPatternCharacters)),
    ];
  });
  const titles = ['PENDING', 'REPLAYED', 'CODE', 'COLUMN', 'FIRST RECEIVED', 'LAST RECEIVED', 'REASON'];
  return [head, '', ...alignColumns([titles, ...rows], 3)].join('\n');
}

/** One dead letter as a few lines. */
export function formatLetter(letter: StoredLetter, state: LetterState): string {
  const { topic, partition, offset, receivedAt, code, column, reason, raw } = letter;
  const text = printable(raw.subarray(0, maxRawCharacters * 4).toString()).slice(0, maxRawCharacters);
  const more = raw.length > Buffer.byteLength(text) ? ` ... (${raw.length} bytes)` : '';
  const where = column === '' ? '' : ` ${printable(column)}:`;
  return [
    `${topic}/${partition} offset ${offset}, ${state}, received ${formatTime(receivedAt)}`,
    `  ${code}${where} ${reasonLine(reason)}`,
    `  ${text}${more}`,
  ].join('\n');
}

/** One dead letter as a line of NDJSON: `raw` when it is text, else `raw_base64`. */
export function formatLetterJson(letter: StoredLetter, state: LetterState): string {
  const { topic, topicId, partition, offset, receivedAt, refusedAt, eventId, code, column, reason, raw } =
    letter;
  return JSON.stringify({
    topic,
    topic_id: topicId,
    partition,
    offset,
    state,
    received_at: formatTime(receivedAt),
    refused_at: formatTime(refusedAt),
    event_id: eventId,
    code,
    column,
    reason,
    ...(isUtf8(raw) ? { raw: raw.toString() } : { raw_base64: raw.toString('base64') }),
  });
}

/** ISO 8601, UTC; the number where another producer wrote one that is no date. */
function formatTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

/** A reason in one line, without what every reason begins and ends with. */
function reasonLine(reason: string): string {
  return printable(
    reason
      .replace(/^Code: \d+\. DB::Exception: /, '')
      .replace(/\n[\s\S]*$/, '')
      .trim(),
  );
}
