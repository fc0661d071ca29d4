import { describe, expect, test } from 'vitest';
import { formatGroups, formatLetter, formatLetterJson } from '../../../src/dead-letters/list-letters.ts';
import type { LetterGroup } from '../../../src/dead-letters/read-letters.ts';

const group: LetterGroup = {
  kinds: 1,
  code: 117,
  column: 'status',
  pattern: 'cannot parse UInt8 value',
  pending: 2,
  replayed: 0,
  firstAt: 0,
  lastAt: 0,
};

const letter = {
  ...{ topic: 'events', topicId: 'T', partition: 0, offset: 1, receivedAt: 2 ** 63 },
  ...{ refusedAt: 0, eventId: '', code: 117, column: '', reason: 'why', raw: Buffer.from('{}') },
};

describe('a time that is no date, as another producer may write', () => {
  test('is shown as the number', () => {
    const text = formatGroups([{ ...group, lastAt: 8.64e15 + 1 }], 'd.dead_letters');
    expect(text).toContain('1970-01-01T00:00:00.000Z  8640000000000001');
    expect(formatLetter(letter, 'pending')).toContain('received 9223372036854776000');
    expect(JSON.parse(formatLetterJson(letter, 'pending'))).toMatchObject({
      received_at: '9223372036854776000',
    });
  });
});

test('the group of the others says how many reasons it stands for, and names none of them', () => {
  const [, last] = formatGroups([group, { ...group, kinds: 450, pending: 900 }], 'd')
    .split('\n')
    .slice(-2);
  expect(last).toMatch(/^ *900 +0 +- +- .* 450 other reasons/);
  expect(last).not.toContain('UInt8');
});

test('what an event brings into a reason does not reach the terminal as it is', () => {
  const text = formatGroups([{ ...group, column: 'a\u001b[2J', pattern: '\u001b[31m' }], 'd');
  expect(text).not.toContain('\u001b');
});
