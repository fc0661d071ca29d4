import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InvariantError } from '../../../src/errors.ts';
import { decodePlan, encodePlan, type Plan, tokenOf } from '../../../src/streamer/plan.ts';

const identity = { topic: 'events', topicId: 'id-1', partition: 3 };

const plans = fc
  .record({
    start: fc.nat({ max: 2 ** 40 }),
    offsets: fc.integer({ min: 1, max: 1_000_000 }),
    crc: fc.nat({ max: 2 ** 32 - 1 }),
    sealedAt: fc.integer({ min: 0, max: 4e12 }),
  })
  .map(({ start, offsets, crc, sealedAt }): Plan => {
    const end = start + offsets;
    return { start, end, rows: offsets, crc, sealedAt, token: tokenOf(identity, start, end) };
  });

test('a plan survives being written and read', () => {
  fc.assert(
    fc.property(plans, (plan) => {
      expect(decodePlan(encodePlan(plan))).toEqual(plan);
    }),
  );
});

test('an empty commit has no plan', () => {
  expect(decodePlan('')).toBeUndefined();
});

test.each([
  '{"v":2,"start":0}',
  'something',
  '{"v":1,"start":-1,"end":2,"rows":1,"crc":0,"token":"t","at":0}',
  '[]',
])('metadata that is not a plan stops the process: %s', (text) =>
  expect(() => decodePlan(text)).toThrow(InvariantError),
);

test('a plan that cannot be true stops the process', () => {
  const plan = { start: 5, end: 9, rows: 4, crc: 0, token: 't', sealedAt: 0 };
  expect(() => encodePlan({ ...plan, end: 5 })).toThrow(InvariantError);
  expect(() => encodePlan({ ...plan, rows: 5 })).toThrow(InvariantError);
  expect(() => encodePlan({ ...plan, token: 'x'.repeat(4_096) })).toThrow(InvariantError);
});

test('a token belongs to one range of one topic', () => {
  const tokens = [
    tokenOf(identity, 1, 23),
    tokenOf(identity, 12, 3),
    tokenOf({ ...identity, partition: 31 }, 1, 23),
    tokenOf({ ...identity, topicId: 'id-2' }, 1, 23),
  ];
  expect(new Set(tokens).size).toBe(tokens.length);
});
