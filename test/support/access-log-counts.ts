import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { UAParser } from 'ua-parser-js';

/** Rows by value; '' for those without one. */
type Counts = Record<string, number>;

/**
 * Counts the lines of an access log by status, browser and os. Independent of how Millrace reads it: fields
 * are cut at quotes and spaces, which is enough for this log; only the user agent's meaning comes from the
 * same library.
 */
export function countLog(path: string): { status: Counts; browser: Counts; os: Counts } {
  const counts = { status: {} as Counts, browser: {} as Counts, os: {} as Counts };
  const known = new Map<string, Pick<UAParser.IResult, 'browser' | 'os'>>();
  for (const line of gunzipSync(readFileSync(path)).toString('utf8').split('\n').filter(Boolean)) {
    const [, , afterRequest] = line.split('"');
    const agent = line.slice(line.slice(0, -1).lastIndexOf('"') + 1, -1);
    const { browser, os } = known.get(agent) ?? new UAParser(agent).getResult();
    known.set(agent, { browser, os });
    add(counts.status, afterRequest?.trim().split(' ')[0]);
    add(counts.browser, browser.name?.toLowerCase());
    add(counts.os, os.name?.toLowerCase());
  }
  return counts;
}

function add(counts: Counts, value = ''): void {
  counts[value] = (counts[value] ?? 0) + 1;
}
