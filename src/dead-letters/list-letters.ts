/** Prints dead letters: a summary first, then the newest ones. */
import type { DeadLetterFilter } from './filter.ts';
import { formatGroups, formatLetter, formatLetterJson, type LetterState } from './format.ts';
import {
  countLetters,
  findNewest,
  type LetterHead,
  type LetterSource,
  type Place,
  readLetters,
  readStored,
  type StoredLetter,
} from './read-letters.ts';

/** What to print and where to. */
export interface ListOptions extends LetterSource {
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
