import { describe, expect, test } from 'vitest';
import { AppendPace } from '../../../src/collector/open-batch.ts';
import { fc } from '../../support/fast-check.ts';

const intervalMs = 1;

/** Lets one event come every `gapMs`; all that wait are appended as soon as the pace allows it. */
function run(pace: AppendPace, { from, gapMs, events }: { from: number; gapMs: number; events: number }) {
  const appends: { readonly at: number; readonly events: number; readonly waitedMs: number }[] = [];
  let waiting = 0;
  let oldest = 0;
  for (let i = 0; i < events; i++) {
    const now = from + i * gapMs;
    if (waiting++ === 0) oldest = now;
    if (pace.waitMs(now, waiting) > 0) continue;
    pace.appended(now, waiting);
    appends.push({ at: now, events: waiting, waitedMs: now - oldest });
    waiting = 0;
  }
  return appends;
}

describe('the pace of appends', () => {
  test('an event every 0.6 ms is appended at once, each alone', () => {
    const appends = run(new AppendPace(intervalMs), { from: 1e6, gapMs: 0.6, events: 1_000 });
    expect(appends).toHaveLength(1_000);
  });

  test('events every 0.1 ms share appends after a while, and wait no longer than the interval', () => {
    const appends = run(new AppendPace(intervalMs), { from: 1e6, gapMs: 0.1, events: 1_000 });
    const later = appends.filter(({ at }) => at > 1e6 + 10);
    expect(later.length).toBeGreaterThan(50);
    for (const { events, waitedMs } of later) {
      expect(events).toBeGreaterThanOrEqual(10);
      expect(waitedMs).toBeLessThanOrEqual(intervalMs);
    }
  });

  test('the first event after a pause is appended at once, however fast they came before', () => {
    const pace = new AppendPace(intervalMs);
    run(pace, { from: 1e6, gapMs: 0.1, events: 1_000 });
    expect(pace.waitMs(2e6, 1)).toBeLessThanOrEqual(0);
  });

  test('32 events never wait', () => {
    const pace = new AppendPace(1_000);
    run(pace, { from: 1e6, gapMs: 0.5, events: 5_000 });
    expect(pace.waitMs(1e6 + 2_501, 31)).toBeGreaterThan(0);
    expect(pace.waitMs(1e6 + 2_501, 32)).toBeLessThanOrEqual(0);
  });

  test('an interval of 0 lets nothing wait', () => {
    expect(run(new AppendPace(0), { from: 1e6, gapMs: 0.001, events: 1_000 })).toHaveLength(1_000);
  });

  test('no event waits while no more than two come in the interval, whatever waits beside it', () => {
    const halves = fc.integer({ min: 1, max: 500 });
    const gaps = fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 200 });
    fc.assert(
      fc.property(halves, gaps, fc.nat(30), (half, more, stuck) => {
        const pace = new AppendPace(2 * half);
        let now = 1e6;
        for (const gapMs of more) {
          now += half + gapMs;
          expect(pace.waitMs(now, stuck + 1)).toBeLessThanOrEqual(0);
          pace.appended(now, 1);
        }
      }),
    );
  });

  test('nobody is ever told to wait for more than the interval', () => {
    const step = fc.record({ gapMs: fc.double({ min: 0, max: 20, noNaN: true }), waiting: fc.nat(40) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(step), (interval, steps) => {
        const pace = new AppendPace(interval);
        let now = 0;
        for (const { gapMs, waiting } of steps) {
          now += gapMs;
          const waitMs = pace.waitMs(now, waiting);
          expect(waitMs).toBeLessThanOrEqual(interval);
          if (waitMs <= 0) pace.appended(now, waiting);
        }
      }),
    );
  });
});
