import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { PartitionExpiry } from '../../../../src/buffer/buffer.ts';
import { createReporter, urgencyOf } from '../../../../src/streamer/health/retention-watch.ts';

const hour = 3_600_000;
const day = 24 * hour;
const now = 1_780_000_000_000;

function expiry(retentionMs: number, leftMs: number, lag = 10): PartitionExpiry {
  return { topic: 'events', partition: 3, lag, retentionMs, expiresAt: now + leftMs };
}

function collect() {
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { lines, report: createReporter(log) };
}

test.each([
  ['a week, nearly all left', 7 * day, 6.9 * day, 'none'],
  ['a week, a quarter left', 7 * day, 1.75 * day, 'none'],
  ['a week, less than a quarter left', 7 * day, 1.74 * day, 'warn'],
  ['a week, 5% left', 7 * day, 0.35 * day, 'warn'],
  ['a week, less than 5% left', 7 * day, 0.34 * day, 'error'],
  ['three hours, more than an hour left', 3 * hour, 1.01 * hour, 'none'],
  ['three hours, less than an hour left', 3 * hour, 0.99 * hour, 'warn'],
  ['an hour, a moment used', hour, hour - 1_000, 'none'],
  ['an hour, half used', hour, hour / 2 - 1, 'warn'],
  ['an hour, passed', hour, -1_000, 'error'],
] as const)('retention of %s', (_, retentionMs, leftMs, urgency) => {
  expect(urgencyOf(expiry(retentionMs, leftMs), now)).toBe(urgency);
  expect(urgencyOf(expiry(retentionMs, leftMs, 0), now)).toBe('none');
});

test('the line says which partition, how many events, how long, and what to do', () => {
  const { lines, report } = collect();
  report(expiry(day, 2 * hour, 1234), now);
  expect(lines).toMatchObject([
    { level: 40, topic: 'events', partition: 3, lag: 1234, secondsLeft: 7200, retentionSeconds: 86_400 },
  ]);
  expect(lines[0]?.msg).toContain('events/3: 1234 events are not delivered');
  expect(lines[0]?.msg).toContain('retention.ms');
});

test('a partition is named once a minute, at once when it gets worse, and anew after it was well', () => {
  const { lines, report } = collect();
  const levels = () => lines.splice(0).map(({ level }) => level);
  report(expiry(day, 3 * hour), now);
  report(expiry(day, 3 * hour), now + 15_000);
  report({ ...expiry(day, 3 * hour), partition: 4 }, now + 15_000);
  expect(levels()).toEqual([40, 40]);
  report(expiry(day, hour), now + 30_000);
  report(expiry(day, hour), now + 45_000);
  expect(levels()).toEqual([50]);
  report(expiry(day, hour), now + 90_000);
  expect(levels()).toEqual([50]);
  report(expiry(day, 20 * hour), now + 91_000);
  report(expiry(day, 3 * hour), now + 92_000);
  expect(levels()).toEqual([40]);
});
