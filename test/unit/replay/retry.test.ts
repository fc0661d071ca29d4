import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../../src/replay/answer.ts';
import { backoff, sendUntilSettled } from '../../../src/replay/poster.ts';
import { fc } from '../../support/fast-check.ts';
import { createFakeClock } from './fake-clock.ts';

const busy: Outcome = { kind: 'retry', reason: 'busy', isLost: false };
const answered: Outcome = { kind: 'answered', accepted: 1, rejections: [], receipts: [] };
const signal = new AbortController().signal;

function send(outcomes: readonly Outcome[], options: { retryForMs?: number; signal?: AbortSignal } = {}) {
  const clock = createFakeClock();
  const left = [...outcomes];
  const settled = sendUntilSettled(() => Promise.resolve(left.shift() ?? busy), {
    retryForMs: 30_000,
    signal,
    clock,
    random: () => 1,
    ...options,
  });
  return settled.then((result) => ({ result, sleeps: clock.sleeps, nowMs: clock.now() }));
}

describe('sending', () => {
  it('goes on until there is an answer, waiting longer each time', async () => {
    const { result, sleeps } = await send([busy, busy, busy, answered]);
    expect(result).toEqual(answered);
    expect(sleeps).toEqual([100, 200, 400]);
  });

  it('waits as long as the collector asks', async () => {
    const { sleeps } = await send([{ ...busy, retryAfterMs: 3_000 }, answered]);
    expect(sleeps).toEqual([3_100]);
  });

  it('gives up in time', async () => {
    const { result, nowMs } = await send([], { retryForMs: 10_000 });
    expect(result).toEqual({ kind: 'gave-up', reason: 'busy' });
    expect(nowMs).toBeLessThanOrEqual(10_000);
    expect(nowMs).toBeGreaterThan(5_000);
    expect((await send([{ ...busy, retryAfterMs: 60_000 }])).nowMs).toBe(0);
    expect((await send([], { retryForMs: 0 })).sleeps).toEqual([]);
  });

  it('does not try again what is hopeless, nor after a stop', async () => {
    const hopeless: Outcome = { kind: 'hopeless', reason: 'no' };
    expect((await send([hopeless])).result).toEqual(hopeless);
    expect((await send([], { signal: AbortSignal.abort() })).result).toEqual({ kind: 'stopped' });
  });

  it('backs off within bounds', () => {
    const unit = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        fc.nat(),
        fc.option(fc.nat(100_000), { nil: undefined }),
        unit,
        (failures, retryAfterMs, random) => {
          const ms = backoff(failures, retryAfterMs, random);
          expect(ms).toBeGreaterThanOrEqual(Math.max(50, retryAfterMs ?? 0));
          expect(ms).toBeLessThanOrEqual(Math.max(5_000, (retryAfterMs ?? 0) + 100));
        },
      ),
    );
  });
});
