import { describe, expect, it } from 'vitest';
import { createSchedule, isPaced, waitUntil } from '../../../src/replay/pacing.ts';
import { fc } from '../../support/fast-check.ts';
import { createFakeClock } from './fake-clock.ts';

const never = new AbortController().signal;

describe('a schedule', () => {
  it('without a pace has everything due at once', () => {
    const schedule = createSchedule({});
    expect([schedule(undefined), schedule(1e12), schedule(undefined)]).toEqual([0, 0, 0]);
    expect(isPaced({})).toBe(false);
  });

  it('at a rate spaces events evenly and adds up no error', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.001, max: 1e6, noNaN: true }),
        fc.integer({ min: 1, max: 2_000 }),
        (rate, n) => {
          const schedule = createSchedule({ rate });
          let dueMs = 0;
          for (let event = 0; event <= n; event += 1) dueMs = schedule(undefined);
          expect(dueMs).toBe((n * 1000) / rate);
        },
      ),
    );
  });

  it("follows the file's clock, faster or slower, and never back", () => {
    const schedule = createSchedule({ speed: 60 });
    const start = Date.parse('2015-05-17T10:05:03Z');
    const times = [start, start + 60_000, start + 59_000, undefined, start + 120_000];
    expect(times.map(schedule)).toEqual([0, 1000, 1000, 1000, 2000]);
    expect([start, start + 1000].map(createSchedule({ speed: 0.5 }))).toEqual([0, 2000]);
  });
});

describe('waiting', () => {
  it('does not drift on a machine whose timers are late', async () => {
    const clock = createFakeClock(7);
    const schedule = createSchedule({ rate: 10 });
    for (let event = 0; event < 100; event += 1) {
      const dueMs = schedule(undefined);
      await waitUntil(clock, dueMs, never);
      expect(clock.now() - dueMs).toBeLessThanOrEqual(7);
    }
    expect(clock.now()).toBeLessThanOrEqual(9_907);
  });

  it('spans more than a timer can hold', async () => {
    const clock = createFakeClock();
    const monthsMs = 100 * 86_400_000;
    await waitUntil(clock, monthsMs, never);
    expect(clock.now()).toBe(monthsMs);
    expect(Math.max(...clock.sleeps)).toBeLessThan(2 ** 31);
  });

  it('ends at once when stopped', async () => {
    const clock = createFakeClock();
    await waitUntil(clock, 1000, AbortSignal.abort());
    expect(clock.now()).toBe(0);
  });
});
