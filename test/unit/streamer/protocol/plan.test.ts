import { expect, test } from 'vitest';
import { InvariantError } from '../../../../src/errors.ts';
import {
  type CommitNote,
  decodeNote,
  encodeNote,
  type Plan,
  tokenOf,
} from '../../../../src/streamer/protocol/plan.ts';
import { fc } from '../../../support/fast-check.ts';

const identity = { topic: 'events', topicId: 'id-1', partition: 3 };

const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const plans = fc
  .record({
    start: fc.nat({ max: 2 ** 40 }),
    offsets: fc.integer({ min: 1, max: 1_000_000 }),
    crc: uint32,
    repeatsCrc: uint32,
    sealedAt: fc.integer({ min: 0, max: 4e12 }),
  })
  .map(({ start, offsets, ...others }): Plan => {
    const end = start + offsets;
    return { start, end, rows: offsets, ...others, token: tokenOf(identity, start, end) };
  });
const notes = fc.record<CommitNote>({
  topicId: fc.string(),
  ids: fc.option(
    fc.record({ offset: fc.nat({ max: 2 ** 40 }), logTime: fc.integer({ min: -1, max: 4e12 }) }),
    { nil: undefined },
  ),
  settleUntil: fc.option(fc.nat({ max: 2 ** 40 }), { nil: undefined }),
  plan: fc.option(plans, { nil: undefined }),
});

test('a note survives being written and read', () => {
  fc.assert(
    fc.property(notes, (note) => {
      expect(decodeNote(encodeNote(note))).toEqual(note);
      expect(decodeNote(encodeNote(note))?.plan).toEqual(note.plan);
    }),
  );
});

test('a plan of the version before has no crc that could be compared, and is never written again without one', () => {
  const plan = '{"start":0,"end":2,"rows":2,"crc":7,"rep":0,"token":"t","at":9}';
  const note = decodeNote(`{"v":2,"topic":"id","plan":${plan}}`);
  expect(note?.plan).toEqual({
    ...{ start: 0, end: 2, rows: 2, crc: undefined, repeatsCrc: 0, token: 't', sealedAt: 9 },
  });
  expect(() => encodeNote(note as CommitNote)).toThrow(InvariantError);
});

test('an empty commit has no note, as after an operator has set the offset', () => {
  expect(decodeNote('')).toBeUndefined();
  expect(decodeNote('')?.plan).toBeUndefined();
});

test.each([
  '{"v":1,"start":0,"end":2,"rows":2,"crc":0,"token":"t","at":0}',
  '{"v":4,"topic":"id"}',
  'something',
  '{"v":3}',
  '{"v":3,"topic":"id","plan":{"start":-1,"end":2,"rows":1,"crc":0,"rep":0,"token":"t","at":0}}',
  '{"v":3,"topic":"id","plan":{"start":0,"end":2,"rows":1,"crc":0,"rep":0,"token":"","at":0}}',
  '{"v":3,"topic":"id","ids":[1]}',
  '[]',
  'null',
])('metadata that is not a note stops the process: %s', (text) =>
  expect(() => decodeNote(text)).toThrow(InvariantError),
);

test('a plan that cannot be true stops the process', () => {
  const plan = { start: 5, end: 9, rows: 4, crc: 0, repeatsCrc: 0, token: 't', sealedAt: 0 };
  const encode = (change: Partial<Plan>) =>
    encodeNote({ topicId: 'id', ids: undefined, settleUntil: undefined, plan: { ...plan, ...change } });
  expect(() => encode({})).not.toThrow();
  expect(() => encode({ end: 5 })).toThrow(InvariantError);
  expect(() => encode({ rows: 5 })).toThrow(InvariantError);
  expect(() => encode({ token: 'x'.repeat(4_096) })).toThrow(InvariantError);
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
