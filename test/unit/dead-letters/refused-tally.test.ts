import { expect, test } from 'vitest';
import { ClickHouseError } from '../../../src/clickhouse/errors.ts';
import { RefusedTally } from '../../../src/dead-letters/replay-letters.ts';
import { formatReplay, formatReplayJson } from '../../../src/dead-letters/replay-report.ts';

const letter = {
  ...{ topic: 'events', topicId: 'T', partition: 0, offset: 1, receivedAt: 0 },
  ...{ eventId: '', code: 117, column: '', reason: '', raw: Buffer.alloc(0) },
};

test('counts every refusal, and tells the most frequent kinds alone', () => {
  const refused = new RefusedTally();
  const word = (n: number) => [...String(n)].map((digit) => 'abcdefghij'[Number(digit)]).join('');
  for (let n = 0; n < 3_000; n++) refused.add(letter, new ClickHouseError(1, `something about ${word(n)}`));
  for (let n = 0; n < 10; n++) refused.add(letter, new ClickHouseError(1, `something about ${word(700)}`));
  expect(refused.count).toBe(3_010);
  expect(refused.groups()).toHaveLength(50);
  expect(refused.groups()[0]).toMatchObject({ count: 11, reason: 'something about haa' });
  expect(refused.others).toBe(3_010 - 11 - 49);
  const result = { replayed: 0, alreadyThere: 0, vanished: 0, closedPlans: [], refused };
  expect(formatReplay(result, false).split('\n')).toHaveLength(3 + 1 + 1 + 51);
  expect(formatReplay(result, false)).toMatch(/\n *2950 .* other reasons$/);
  expect(JSON.parse(formatReplayJson(result, false))).toMatchObject({ refused: 3_010, other_reasons: 2_950 });
});
