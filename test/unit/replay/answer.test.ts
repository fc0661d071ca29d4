import { describe, expect, it } from 'vitest';
import { parseRetryAfter, readAnswer } from '../../../src/replay/answer.ts';

function read(status: number, body: unknown, options: { retryAfter?: string; count?: number } = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return readAnswer({ status, retryAfter: options.retryAfter, body: text }, options.count ?? 3);
}

describe('an answer', () => {
  it('may accept a batch', () => {
    const receipts = [{ partition: 0, offset: 17, count: 3 }];
    expect(read(200, { status: 'ok', accepted: 3, rejected: [], receipts })).toEqual({
      kind: 'answered',
      accepted: 3,
      rejections: [],
      receipts,
    });
  });

  it.each(['offset', 'Offset'])('may accept a single event, with %s', (name) => {
    expect(read(200, { status: 'ok', partition: 2, [name]: 0 }, { count: 1 })).toMatchObject({
      accepted: 1,
      receipts: [{ partition: 2, offset: 0, count: 1 }],
    });
  });

  it('may accept events into the spool of the collector', () => {
    const receipts = [{ spool: 'abc', offset: 4, count: 3 }];
    expect(read(202, { status: 'ok', accepted: 3, rejected: [], receipts })).toMatchObject({ accepted: 3 });
    expect(read(202, { status: 'ok', spool: 'abc', offset: 4 }, { count: 1 })).toMatchObject({ accepted: 1 });
  });

  it('may tell the positions of refused events alone, and of none that were not sent', () => {
    const rejected = [{ index: 0, code: 'INVALID_EVENT', detail: 'must have event' }];
    const more = {
      count: 4,
      permanent: [
        [1, 2],
        [4, 4],
      ],
      retriable: [[6, 6]],
    };
    const told = read(200, { accepted: 2, rejected, rejected_more: more, receipts: [] }, { count: 7 });
    expect(told).toMatchObject({ rejections: [0, 1, 2, 4, 6].map((index) => ({ index })) });
    for (const permanent of [[[-1, 9], [5, 1e15], [2, 1], 7, ['a'], null], 7, undefined]) {
      const odd = read(422, { rejected, rejected_more: { permanent } }, { count: 7 });
      expect(JSON.stringify(odd).length).toBeLessThan(1_000);
    }
  });

  it('may reject events of a batch, or all of it', () => {
    const rejected = [{ index: 1, code: 'INVALID_EVENT', detail: 'must have event' }];
    expect(read(200, { status: 'partial', accepted: 2, rejected, receipts: [] })).toMatchObject({
      accepted: 2,
      rejections: rejected,
    });
    expect(read(422, { code: 'INVALID_EVENT', detail: 'no', rejected })).toMatchObject({
      rejections: rejected,
    });
    const all = read(400, { code: 'INVALID_JSON', detail: 'no' });
    expect(all).toMatchObject({
      accepted: 0,
      rejections: [0, 1, 2].map((index) => ({ index, code: 'INVALID_JSON' })),
    });
  });

  it.each([
    [503, { code: 'OVERLOADED', detail: 'full' }, false],
    [503, { code: 'OUTCOME_UNKNOWN', detail: 'no answer' }, true],
    [429, 'slow down', false],
    [502, '<html>', true],
    [500, '', true],
  ])('may ask to try again: %s %j', (status, body, isLost) => {
    expect(read(status, body, { retryAfter: '2' })).toMatchObject({
      kind: 'retry',
      retryAfterMs: 2000,
      isLost,
    });
  });

  it.each([
    [404, 'not found', '404'],
    [401, '', '401'],
    [413, { code: 'TOO_MANY_EVENTS', detail: 'at most 2' }, 'smaller --batch'],
    [200, '<html>welcome</html>', 'not like a collector: <html>welcome'],
    [200, { ok: true }, 'not like a collector'],
  ])('may show that going on is hopeless: %s %j', (status, body, reason) => {
    expect(read(status, body)).toMatchObject({ kind: 'hopeless', reason: expect.stringContaining(reason) });
  });

  it('names one event that is too large as rejected', () => {
    expect(read(413, { code: 'EVENT_TOO_LARGE', detail: 'big' }, { count: 1 })).toMatchObject({
      kind: 'answered',
    });
  });

  it.each([
    ['5', 5_000],
    ['0', 0],
    ['Thu, 01 Jan 1970 00:00:30 GMT', 20_000],
    ['Thu, 01 Jan 1970 00:00:01 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('says when to come back: %s', (value, ms) => {
    expect(parseRetryAfter(value, 10_000)).toBe(ms);
  });
});
