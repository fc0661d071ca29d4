import { describe, expect, test } from 'vitest';
import { parseProfile } from '../../../src/bench/profile.ts';
import { OperatorError } from '../../../src/errors.ts';
import { fc } from '../../support/fast-check.ts';

/** The planned times of all requests, milliseconds. */
function timesOf(text: string): number[] {
  const profile = parseProfile(text);
  return Array.from({ length: profile.requests }, (_, n) => profile.plannedMs(n));
}

describe('a profile', () => {
  test('of a constant rate spaces requests evenly, from the start on', () => {
    expect(timesOf('const:4:1s')).toEqual([0, 250, 500, 750]);
    expect(timesOf('const:0.5:4s')).toEqual([0, 2000]);
    expect(parseProfile('const:10000:60s')).toMatchObject({ requests: 600_000, seconds: 60 });
    expect(parseProfile('const:1000:1.5m').seconds).toBe(90);
    expect(parseProfile('const:1000:500ms').requests).toBe(500);
    expect(parseProfile('const:1e6:1s').requests).toBe(1_000_000);
  });

  test('of a line follows its integral', () => {
    // From 0 to 8 requests/s in 4 s: t seconds hold t² requests.
    const expected = Array.from({ length: 16 }, (_, n) => Math.sqrt(n) * 1000);
    for (const [n, time] of timesOf('line:0:8:4s').entries()) expect(time).toBeCloseTo(expected[n] ?? 0, 6);
    expect(parseProfile('line:1000:15000:3m').requests).toBe(1_440_000);
  });

  test('of steps takes each for its time, both ends included, up or down', () => {
    expect(timesOf('step:1:3:1:1s')).toEqual([0, 1000, 1500, 2000, 2000 + 1000 / 3, 2000 + 2000 / 3]);
    expect(timesOf('step:2:1:1:1s')).toEqual([0, 500, 1000]);
    expect(parseProfile('step:1000:5000:1000:30s')).toMatchObject({ requests: 450_000, seconds: 150 });
    // The last step stays below the end when the ends are no whole number of steps apart.
    expect(parseProfile('step:1:4:2:1s').requests).toBe(1 + 3);
  });

  test('of several parts runs one after the other; a rate of 0 is a pause', () => {
    expect(timesOf('const:2:1s,const:0:5s, const:1:2s')).toEqual([0, 500, 6000, 7000]);
  });

  test.each([
    ['', 'write const:'],
    ['const:10', 'write const:'],
    ['ramp:1:2:3s', 'write const:'],
    ['const:-1:1s', "'-1' is not a rate"],
    ['const:1e7:1s', "'1e7' is not a rate"],
    ['const:x:1s', "'x' is not a rate"],
    ['const:1:10', "'10' is not a duration"],
    ['const:1:0s', "'0s' is not a duration"],
    ['step:1:2:0:1s', 'must be above 0'],
    ['step:0:1000000:1:1s', 'more than 10000 steps'],
    ['const:0:10s', 'plans no request'],
    ['const:1000000:1h', 'the maximum is'],
    ['const:1:1s,', 'write const:'],
  ])("'%s' is refused: %s", (text, message) => {
    const parse = () => parseProfile(text);
    expect(parse).toThrow(OperatorError);
    expect(parse).toThrow(message);
  });
});

const rate = fc.oneof(
  fc.integer({ min: 0, max: 500 }),
  fc.integer({ min: 1, max: 5000 }).map((n) => n / 10),
);
const length = fc.integer({ min: 1, max: 40 }).map((n) => n / 10);
const part = fc.oneof(
  fc.tuple(rate, length).map(([a, s]) => ({ text: `const:${a}:${s}s`, area: a * s })),
  fc
    .tuple(rate, rate, length)
    .map(([a, b, s]) => ({ text: `line:${a}:${b}:${s}s`, area: ((a + b) / 2) * s })),
);

describe('any profile', () => {
  const profiles = fc
    .array(part, { minLength: 1, maxLength: 5 })
    .map((parts) => ({
      text: parts.map(({ text }) => text).join(','),
      area: parts.reduce((sum, { area }) => sum + area, 0),
    }))
    .filter(({ area }) => area > 0.01);

  test('plans as many requests as the integral of its rate says', () => {
    fc.assert(
      fc.property(profiles, ({ text, area }) => {
        expect(Math.abs(parseProfile(text).requests - area)).toBeLessThan(1 + 1e-3);
      }),
    );
  });

  test('plans them in order, within its length', () => {
    fc.assert(
      fc.property(profiles, ({ text }) => {
        const times = timesOf(text);
        expect(times[0]).toBeGreaterThanOrEqual(0);
        expect(times.findIndex((time, n) => n > 0 && time < (times[n - 1] as number))).toBe(-1);
        expect(times.at(-1)).toBeLessThanOrEqual(parseProfile(text).seconds * 1000 + 1e-6);
      }),
    );
  });

  test('counts those before a moment as it plans them', () => {
    fc.assert(
      fc.property(profiles, fc.double({ min: 0, max: 1.1, noNaN: true }), ({ text }, share) => {
        const profile = parseProfile(text);
        const ms = share * profile.seconds * 1000;
        const times = timesOf(text);
        expect(profile.plannedBefore(ms)).toBe(times.filter((time) => time < ms).length);
        const some = times[Math.floor(share * 0.9 * profile.requests)] ?? 0;
        expect(profile.plannedBefore(some)).toBe(times.filter((time) => time < some).length);
      }),
    );
  });
});
