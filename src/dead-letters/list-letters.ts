/**
 * Prints dead letters: a summary first, then the newest ones.
 *
 * Dead letters as text for people, and as JSON.
 */
import { isUtf8 } from 'node:buffer';
import { alignColumns, countOf, printable } from '../text.ts';
import {
  countLetters,
  type DeadLetterFilter,
  findNewest,
  type LetterGroup,
  type LetterHead,
  type LetterSource,
  type Place,
  readLetters,
  readStored,
  type StoredLetter,
} from './read-letters.ts';

/** What to print and where to. */
interface ListOptions extends LetterSource {
  readonly filter: DeadLetterFilter;
  /** Most dead letters to print, 0 for the summary alone. */
  readonly limit: number;
  /** NDJSON without the summary, instead of text for people. */
  readonly json: boolean;
  /** Prints a line, or several; resolves when the reader has taken them. */
  print(text: string): Promise<void>;
  /** Tells the person something that is no data. */
  note(text: string): void;
}

/** What is read at once, which bounds the memory; one dead letter may have more bytes alone. */
const pageRows = 500;
const pageBytes = 16 * 1024 ** 2;

/** Lists the newest dead letters that match. */
export async function listLetters(options: ListOptions): Promise<void> {
  const { filter, limit, json, tables } = options;
  const groups = await countLetters(options, filter);
  if (!json) await options.print(formatGroups(groups, tables.deadLetters.replaceAll('`', '')));
  const heads = await findNewest(options, filter, limit);
  for (const page of cutPages(heads)) await printPage(options, page);
  const total = groups.reduce((sum, { pending, replayed }) => sum + pending + replayed, 0);
  if (total > heads.length && heads.length > 0) {
    const text = `${total - heads.length} older ones are not shown: see --limit and the filters`;
    if (json) options.note(text);
    else await options.print(`\n${text}`);
  }
}

/** Reads a page partition by partition, and prints it in its own order. */
async function printPage(options: ListOptions, page: readonly LetterHead[]): Promise<void> {
  const places = new Map<string, LetterHead[]>();
  for (const head of page) {
    const heads = places.get(keyOf(head));
    if (heads === undefined) places.set(keyOf(head), [head]);
    else heads.push(head);
  }
  const letters = new Map<string, { readonly letter: StoredLetter; readonly state: LetterState }>();
  for (const heads of places.values()) {
    const [place] = heads;
    if (place === undefined) continue;
    const stored = await readStored(options, place, heads);
    const offsets = heads.map(({ offset }) => offset);
    for (const letter of await readLetters(options, place, offsets)) {
      const state = stored.has(letter.offset) ? 'replayed' : 'pending';
      letters.set(`${keyOf(letter)} ${letter.offset}`, { letter, state });
    }
  }
  for (const head of page) {
    const found = letters.get(`${keyOf(head)} ${head.offset}`);
    if (found === undefined) continue;
    const { letter, state } = found;
    await options.print(options.json ? formatLetterJson(letter, state) : `\n${formatLetter(letter, state)}`);
  }
}

function keyOf({ topicId, partition }: Place): string {
  return `${topicId}/${partition}`;
}

function cutPages(heads: readonly LetterHead[]): LetterHead[][] {
  const pages: LetterHead[][] = [];
  let bytes = 0;
  for (const head of heads) {
    const page = pages.at(-1);
    bytes += head.bytes;
    if (page !== undefined && page.length < pageRows && bytes <= pageBytes) page.push(head);
    else {
      pages.push([head]);
      bytes = head.bytes;
    }
  }
  return pages;
}

const maxRawCharacters = 500;
const maxPatternCharacters = 120;

/** `replayed`: it is a row of `events`. */
type LetterState = 'pending' | 'replayed';

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
