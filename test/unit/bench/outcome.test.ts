import { describe, expect, test } from 'vitest';
import { readOutcome } from '../../../src/bench/load-counts.ts';
import { formatBatchResult, formatSingleResult, problemAnswer } from '../../../src/collector/reply.ts';
import { createReceipts } from '../../../src/verify/receipts.ts';

const read = (status: number, body: string, events = 1) =>
  readOutcome(
    { status, body: Buffer.from(body).toString('latin1'), isLast: false },
    events,
    createReceipts(),
  );
const known = { accepted: 0, rejected: 0, unknown: 0, failure: undefined };

describe('the outcome of a request', () => {
  test('is what the collector says in each of its forms', () => {
    const single = { offset: 17, count: 1 };
    for (const receipt of [
      { ...single, partition: 0 },
      { ...single, spool: 'a-ü' },
    ])
      for (const name of ['offset', 'Offset'] as const)
        expect(read(200, formatSingleResult(receipt, name))).toEqual({ ...known, accepted: 1 });
    const receipts = [
      { partition: 0, offset: 17, count: 2 },
      { spool: 'a', offset: 0, count: 1 },
    ];
    const detail = '/os must be string';
    const rejected = [{ index: 3, code: 'INVALID_EVENT', detail }] as const;
    expect(read(200, formatBatchResult(2, [], receipts.slice(0, 1)), 2)).toEqual({ ...known, accepted: 2 });
    expect(read(202, formatBatchResult(3, [], receipts), 3)).toEqual({ ...known, accepted: 3 });
    expect(read(200, formatBatchResult(3, rejected, receipts), 4)).toEqual({
      ...known,
      ...{ accepted: 3, rejected: 1 },
    });
    const many = Array.from(
      { length: 2_000 },
      (_, index) => ({ index, code: 'INVALID_EVENT', detail }) as const,
    );
    expect(read(200, formatBatchResult(3, many, receipts), 2_003)).toEqual({
      ...known,
      ...{ accepted: 3, rejected: 2_000 },
    });
    const problem = problemAnswer({ code: 'INVALID_EVENT', detail }, { rejected });
    expect(read(422, problem.body, 4)).toEqual({ ...known, rejected: 4, failure: '422 INVALID_EVENT' });
    const lost = problemAnswer({ code: 'OUTCOME_UNKNOWN', detail: 'x' });
    expect(read(503, lost.body, 4)).toEqual({ ...known, unknown: 4, failure: '503 OUTCOME_UNKNOWN' });
  });

  test.each([
    ['fewer events than were posted', '{"status":"ok","partition":0,"offset":17}', 2],
    ['more events than were posted', '{"partition":0,"offset":17,"count":3}', 2],
    [
      'another number than its receipts',
      '{"accepted":2,"rejected":[],"receipts":[{"partition":0,"offset":1,"count":1}]}',
      2,
    ],
    [
      'too few rejections',
      '{"accepted":1,"rejected":[],"receipts":[{"partition":0,"offset":1,"count":1}]}',
      2,
    ],
    ['no receipt', '{"status":"ok","accepted":2}', 2],
    ['no JSON', 'ok', 1],
    ['nothing', '', 1],
    ['null', 'null', 1],
  ])('is unknown when a 200 has %s', (_, body, events) => {
    expect(read(200, body, events)).toEqual({
      ...known,
      ...{ unknown: events, failure: '200 without fitting receipts' },
    });
  });

  test.each([
    [301, 'rejected'],
    [404, 'rejected'],
    [408, 'unknown'],
    [429, 'rejected'],
    [500, 'unknown'],
    [502, 'unknown'],
    [503, 'rejected'],
    [504, 'unknown'],
  ])('by a bare status %i is that the events are %s', (status, kind) => {
    for (const body of ['', 'null', '<html>', '{"code":7}', '{"code":"no code"}'])
      expect(read(status, body, 3)).toEqual({ ...known, [kind]: 3, failure: String(status) });
  });

  test('keeps the receipts of every answer', () => {
    const receipts = createReceipts();
    const answer = (body: string) => ({ status: 200, body, isLast: false });
    readOutcome(answer('{"status":"ok","partition":1,"offset":4}'), 1, receipts);
    readOutcome(answer('{"partition":1,"offset":5,"count":9}'), 1, receipts);
    expect([...(receipts.partitions.get(1) ?? [])]).toEqual([{ start: 4, end: 14 }]);
  });
});
