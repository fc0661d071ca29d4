import { describe, expect, it } from 'vitest';
import type { Batch } from '../../../src/replay/batch.ts';
import { formatSummary, formatSummaryJson, ReplayCounts, type Summary } from '../../../src/replay/tally.ts';

function batchOf(afterLine: number, lines: readonly number[], rest: Partial<Batch> = {}): Batch {
  const lastLine = lines.at(-1) ?? afterLine;
  const fixed = { body: Buffer.alloc(0), dueMs: 0, unreadable: 0, faults: [] };
  return { afterLine, lastLine, end: lastLine * 10, lines, ...fixed, ...rest };
}

const accept = (count: number, offset = 0, partition = 0) =>
  ({ kind: 'answered', accepted: count, rejections: [], receipts: [{ partition, offset, count }] }) as const;

describe('a tally', () => {
  it('adds up answers', () => {
    const tally = new ReplayCounts();
    const batches = [
      batchOf(0, [1, 2, 4], { unreadable: 1, faults: [{ line: 3, code: 'UNREADABLE', detail: 'x' }] }),
      batchOf(4, [5, 6]),
    ] as const;
    for (const batch of batches) tally.begin(batch);
    tally.settle(batches[1], accept(2, 100));
    expect(tally.read()).toMatchObject({ sent: 2, resumeLine: 0 });
    const rejections = [{ index: 2, code: 'INVALID_EVENT', detail: 'no' }];
    tally.settle(batches[0], { ...accept(2, 7), rejections });
    tally.retry(true);
    tally.retry(false);
    expect(tally.read()).toEqual({
      sent: 5,
      accepted: 4,
      rejected: 1,
      unreadable: 1,
      retries: 2,
      lostAnswers: 1,
      faults: [
        { line: 3, code: 'UNREADABLE', detail: 'x' },
        { line: 4, code: 'INVALID_EVENT', detail: 'no' },
      ],
      partitions: [{ partition: 0, events: 4, firstOffset: 7, lastOffset: 101 }],
      resumeLine: 6,
      end: 60,
    });
  });

  it('knows from where to go on when a batch got no answer', () => {
    const tally = new ReplayCounts();
    const batches = [batchOf(0, [1]), batchOf(1, [2]), batchOf(2, [3])] as const;
    for (const batch of batches) tally.begin(batch);
    tally.settle(batches[0], accept(1));
    tally.settle(batches[2], accept(1));
    expect(tally.read().resumeLine).toBe(1);
  });

  it('keeps only the first faults', () => {
    const tally = new ReplayCounts();
    for (let n = 30; n > 0; n -= 1) {
      const batch = batchOf(n - 1, [n]);
      tally.begin(batch);
      tally.settle(batch, { ...accept(0), receipts: [], rejections: [{ index: 0, code: 'X', detail: '' }] });
    }
    expect(tally.read().rejected).toBe(30);
    expect(tally.read().faults.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

const summary: Summary = {
  state: 'complete',
  sent: 12_000,
  accepted: 11_999,
  rejected: 1,
  unreadable: 0,
  retries: 2,
  lostAnswers: 1,
  faults: [{ line: 17, code: 'INVALID_EVENT', detail: 'must have event' }],
  partitions: [{ partition: 0, events: 11_999, firstOffset: 0, lastOffset: 11_998 }],
  resumeLine: 12_000,
  end: 1,
  seconds: 2,
  maxLateMs: undefined,
  failure: undefined,
};

describe('a summary', () => {
  it('reads well', () => {
    expect(formatSummary(summary, 'a.log')).toMatchInlineSnapshot(`
      "sent          12,000 events in 2 s, 6,000/s
      accepted      11,999
      rejected      1
      unreadable    0
      partition 0   11,999 events, offsets 0 to 11998
      retried       2 requests
                    1 after a lost answer: those events may be stored twice, unless they have an id
      first lines that were rejected or unreadable:
        line 17: INVALID_EVENT: must have event"
    `);
  });

  it('says where to go on after a stop, and that the collector was slow', () => {
    const text = formatSummary({ ...summary, state: 'stopped', maxLateMs: 2_500 }, 'a.log');
    expect(text).toContain('stopped after line 12000 of a.log; continue with --skip 12000');
    expect(text).toContain('up to 2.5 s');
  });

  it('is one line of JSON', () => {
    expect(JSON.parse(formatSummaryJson({ ...summary, maxLateMs: 0.4 }))).toEqual({
      state: 'complete',
      sent: 12_000,
      accepted: 11_999,
      rejected: 1,
      unreadable: 0,
      seconds: 2,
      rate: 6_000,
      retries: 2,
      lost_answers: 1,
      max_late_ms: 0.4,
      partitions: [{ partition: 0, events: 11_999, first_offset: 0, last_offset: 11_998 }],
      faults: [{ line: 17, code: 'INVALID_EVENT', detail: 'must have event' }],
      resume_line: 12_000,
    });
  });
});
