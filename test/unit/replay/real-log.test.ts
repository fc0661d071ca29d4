import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { createUserAgentNames, type LogEvent, parseLogLine } from '../../../src/replay/access-log.ts';

const file = fileURLToPath(new URL('../../../../shared/data/apache_access.log.gz', import.meta.url));
const isThere = existsSync(file);
const title = isThere ? 'a real access log' : `a real access log (skipped: there is no ${file})`;

describe.skipIf(!isThere)(title, () => {
  const lines = isThere ? gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n') : [];
  const nameUserAgent = createUserAgentNames();
  const parsed = lines.map((line) => parseLogLine(line, nameUserAgent));
  const events = parsed.flatMap((line) => (line.ok ? [line.event] : []));

  it('can be read, every line', () => {
    expect(lines).toHaveLength(10_000);
    expect(parsed.filter(({ ok }) => !ok)).toEqual([]);
  });

  it('has the same statuses and methods as words counted by position', () => {
    const words = lines.map((line) => line.split(' '));
    expect(count(events.map(({ status }) => String(status)))).toEqual(count(words.map((word) => word[8])));
    expect(count(events.map(({ method }) => method))).toEqual(count(words.map((word) => word[5]?.slice(1))));
  });

  it('has the same bytes, paths and referrers as found by one regular expression', () => {
    const found = lines.map((line) => /"\S+ (\S+) HTTP\/1\.\d" \d+ (\d+|-) "([^"]*)"/.exec(line) ?? []);
    expect(events.map(({ path }) => path)).toEqual(found.map((match) => match[1]));
    expect(sum(events.map(({ bytes }) => bytes ?? 0))).toBe(sum(found.map((match) => Number(match[2]) || 0)));
    const missing = (event: LogEvent) => event.referrer === undefined;
    expect(events.filter(missing)).toHaveLength(
      found.filter((match) => ['-', ''].includes(match[3] ?? '')).length,
    );
  });

  it('names most browsers and systems', () => {
    const withUserAgent = events.filter((event) => event.user_agent !== undefined);
    expect(withUserAgent.filter(({ os }) => os !== undefined).length / withUserAgent.length).toBeGreaterThan(
      0.6,
    );
    expect(withUserAgent.every(({ browser = '' }) => browser === browser.toLowerCase())).toBe(true);
  });
});

function count(words: readonly (string | undefined)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word ?? ''] = (counts[word ?? ''] ?? 0) + 1;
  return counts;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
