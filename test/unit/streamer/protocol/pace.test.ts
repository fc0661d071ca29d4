import { expect, test, vi } from 'vitest';
import { Pace } from '../../../../src/streamer/protocol/batch-reader.ts';

test('inserts begin at least the age apart; the first rows after a pause wait a tenth of it', () => {
  vi.useFakeTimers({ toFake: ['performance'], now: 5_000 });
  try {
    const startedAt = performance.now();
    const pace = new Pace(1_000);
    expect(pace.dueAt(undefined)).toBe(Number.NEGATIVE_INFINITY);
    expect(pace.dueAt(startedAt)).toBe(startedAt + 100);
    pace.begin();
    expect(pace.isInserting).toBe(true);
    pace.end();
    expect(pace.isInserting).toBe(false);
    expect(pace.dueAt(undefined)).toBe(startedAt + 1_000);
    expect(pace.dueAt(startedAt + 1)).toBe(startedAt + 1_000);
    expect(pace.dueAt(startedAt + 950)).toBe(startedAt + 1_050);
    expect(pace.dueAt(startedAt + 7_000)).toBe(startedAt + 7_100);
  } finally {
    vi.useRealTimers();
  }
});
