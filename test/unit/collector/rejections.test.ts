import { expect, test } from 'vitest';
import type { ProblemCode, Rejection } from '../../../src/collector/problem.ts';
import { tellRejections } from '../../../src/collector/reply.ts';

const refused = (index: number, code: ProblemCode = 'INVALID_EVENT'): Rejection => ({
  index,
  code,
  detail: 'd',
});

test('some hundreds of refused events are told one by one', () => {
  const all = Array.from({ length: 500 }, (_, i) => refused(2 * i));
  expect(tellRejections(all)).toEqual({ rejected: all });
});

test('of more, the positions are told of all, and no event is missed', () => {
  const all = Array.from({ length: 20_000 }, (_, i) => refused(i)).filter(({ index }) => index !== 700);
  all[15_000] = refused(15_001, 'BUFFER_UNAVAILABLE');
  expect(tellRejections(all)).toEqual({
    rejected: all.slice(0, 500),
    rejected_more: {
      count: 19_499,
      permanent: [
        [500, 699],
        [701, 15_000],
        [15_002, 19_999],
      ],
      retriable: [[15_001, 15_001]],
    },
  });
});

test('small mistakes of different kinds are answered with little', () => {
  const all = Array.from({ length: 20_000 }, (_, i) =>
    refused(i, i % 2 === 0 ? 'INVALID_JSON' : 'INVALID_EVENT'),
  );
  expect(JSON.stringify(tellRejections(all)).length).toBeLessThan(50_000);
});
