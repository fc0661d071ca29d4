import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { Batch } from '../../../src/replay/batch.ts';
import { systemClock } from '../../../src/replay/pacing.ts';
import type { Poster } from '../../../src/replay/poster.ts';
import { type ReplayOptions, replayFile } from '../../../src/replay/replay-file.ts';
import { createFakeClock } from './fake-clock.ts';

async function* readText(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

function run(post: Poster['post'], options: Partial<ReplayOptions> = {}) {
  return replayFile({
    source: {
      name: 'a.ndjson',
      size: undefined,
      bytesOnDisk: (position) => position,
      chunks: readText('{"event":"a"}\n'.repeat(100)),
      close: () => {},
    },
    poster: { post, close: () => Promise.resolve() },
    target: 'http://collector',
    progress: { update: () => {}, stop: () => {} },
    log: pino({ level: 'silent' }),
    clock: systemClock,
    format: 'auto',
    pace: {},
    batch: 10,
    concurrency: 3,
    skip: 0,
    retryForMs: 1_000,
    stopTimeoutMs: 1_000,
    stop: new AbortController().signal,
    ...options,
  });
}

const accept = ({ lines }: Batch) =>
  ({ kind: 'answered', accepted: lines.length, rejections: [], receipts: [] }) as const;

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('a run', () => {
  it('has as many requests in flight as allowed, and no more', async () => {
    let inFlight = 0;
    let most = 0;
    const { summary, failure } = await run(async (batch) => {
      inFlight += 1;
      most = Math.max(most, inFlight);
      await pause();
      inFlight -= 1;
      return accept(batch);
    });
    expect(failure).toBeUndefined();
    expect(summary).toMatchObject({ state: 'complete', sent: 100, resumeLine: 100 });
    expect(most).toBe(3);
  });

  it('sends nothing before it is due, and tells how late it was', async () => {
    const clock = createFakeClock(20);
    const sent: [number, number][] = [];
    const post: Poster['post'] = async (batch) => {
      sent.push([clock.now(), batch.dueMs]);
      return accept(batch);
    };
    const { summary } = await run(post, { clock, pace: { rate: 100 } });
    expect(sent.map(([, dueMs]) => dueMs)).toEqual([90, 190, 290, 390, 490, 590, 690, 790, 890, 990]);
    for (const [atMs, dueMs] of sent) expect(atMs - dueMs).toBeLessThanOrEqual(20);
    for (const [atMs, dueMs] of sent) expect(atMs).toBeGreaterThanOrEqual(dueMs);
    expect(summary.maxLateMs).toBe(20);
  });

  it('waits for requests in flight after a stop, and cuts those that take too long', async () => {
    const controller = new AbortController();
    let count = 0;
    const post: Poster['post'] = async (batch, signal) => {
      count += 1;
      if (count === 2) {
        controller.abort();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return { kind: 'retry', reason: 'cut', isLost: true };
      }
      await pause();
      return accept(batch);
    };
    const { summary } = await run(post, { stop: controller.signal, stopTimeoutMs: 50 });
    expect(summary).toMatchObject({ state: 'stopped', sent: 10, resumeLine: 10 });
    expect(count).toBe(2);
  });

  it('fails once for all requests in flight', async () => {
    const { summary, failure } = await run(async () => {
      await pause();
      return { kind: 'hopeless', reason: 'it answered 404' };
    });
    expect(failure?.message).toContain('http://collector does not accept events: it answered 404');
    expect(summary).toMatchObject({ state: 'failed', sent: 0, resumeLine: 0 });
  });
});
