import { describe, expect, test } from 'vitest';
import { OperatorError } from '../../../src/errors.ts';
import { readReceipts } from '../../../src/verify/receipts.ts';

async function* inPieces(text: string, size: number) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const read = (lines: readonly string[], size = 7) => readReceipts(inPieces(lines.join('\n'), size), 'list');

describe('a list of receipts', () => {
  test('is read in every form, wherever it is cut', async () => {
    for (const size of [1, 7, 1_000]) {
      const { partitions, spools } = await read(
        [
          '{"partition":0,"offset":17}',
          '{"partition":0,"offset":18,"count":3}',
          '',
          '{"status":"ok","partition":2,"Offset":4}\r',
          '{"status":"partial","accepted":3,"rejected":[],"receipts":[{"partition":2,"offset":5,"count":2},{"spool":"a-ü","offset":0,"count":1}]}',
          '{"status":"ok","accepted":0,"receipts":[]}',
          '{"status":"ok","accepted":2,"rejected":[],"receipts":[{"partition":2,"offset":7,"count":2}]}',
          '{"status":"ok","spool":"a-ü","offset":1}',
          '{"status":"ok","spool":"a-ü","Offset":2}',
        ],
        size,
      );
      expect([...partitions].map(([partition, set]) => [partition, [...set]])).toEqual([
        [0, [{ start: 17, end: 21 }]],
        [2, [{ start: 4, end: 9 }]],
      ]);
      expect([...spools].map(([spool, set]) => [spool, [...set]])).toEqual([['a-ü', [{ start: 0, end: 3 }]]]);
    }
  });

  test.each([
    ['{"partition":0}'],
    ['{"partition":-1,"offset":0}'],
    ['{"partition":0,"offset":1.5}'],
    ['{"partition":0,"offset":1,"count":0}'],
    ['{"partition":"0","offset":1}'],
    ['{"code":"INVALID_JSON","status":400}'],
    ['[1]'],
    ['null'],
    ['{"partition":0,'],
  ])('with %s is refused, with the number of the line', async (bad) => {
    const error = await read(['{"partition":0,"offset":17}', '', bad]).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OperatorError);
    expect(error).toMatchObject({ exitCode: 2, message: expect.stringContaining('line 3 of list') });
  });
});
