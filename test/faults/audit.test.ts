/** The audit itself: it must see what it is there for. */
import { describe, expect, test } from 'vitest';
import type { TopicView } from '../../src/buffer/buffer.ts';
import { type AuditOptions, compare, type Delivered } from '../support/faults/audit.ts';
import { Ledger } from '../support/faults/ledger.ts';

const view: TopicView = {
  topicId: 'topic',
  partitions: [{ partition: 0, start: 0, end: 3, commit: { offset: 3, plan: '' } }],
};
const row = (offset: number, n: number, table: Delivered['table'] = 'events') => ({
  table,
  partition: 0,
  offset,
  n,
});

/** Three events acknowledged at 0, 1 and 2, one refused, one of unknown outcome. */
function createLedger(): Ledger {
  const ledger = new Ledger();
  const [a, b, c, refused, unknown] = ledger.takeSerials(5) as [number, number, number, number, number];
  [a, b, c].forEach((n, offset) => {
    ledger.acknowledge(n, 0, offset);
  });
  ledger.refuse([refused], 'STOPPING');
  ledger.doubt([unknown], 'ECONNRESET');
  return ledger;
}

const audit = (delivered: Delivered[], end = 3, options: AuditOptions = {}) =>
  compare(
    createLedger(),
    delivered,
    { ...view, partitions: [{ partition: 0, start: 0, end, commit: undefined }] },
    options,
  );

describe('the audit', () => {
  test('is content when each offset is one row, dead letter or repeat', () => {
    const finding = audit([row(0, 0), row(1, 1, 'dead_letters'), row(2, -1, 'repeats')]);
    expect(finding).toMatchObject({
      rows: 1,
      deadLetters: 1,
      repeats: 1,
      missing: 0,
      duplicated: 0,
      faults: [],
    });
  });

  test('counts an event of unknown outcome that was stored', () => {
    const finding = audit([row(0, 0), row(1, 1), row(2, 2), row(3, 4)], 4);
    expect(finding).toMatchObject({ unknown: 1, unknownStored: 1, faults: [] });
  });

  test.each<[string, Delivered[], number, RegExp]>([
    [
      'an acknowledged event without a row',
      [row(0, 0), row(2, 2)],
      3,
      /^missing .*1 was acknowledged at 0:1/,
    ],
    ['a record in the buffer without a row', [row(0, 0), row(1, 1), row(2, 2)], 4, /^missing .*0:3/],
    ['an offset in two rows', [row(0, 0), row(1, 1), row(2, 2), row(1, 1)], 3, /^stored twice/],
    [
      'an offset in two tables',
      [row(0, 0), row(1, 1), row(2, 2), row(1, 1, 'dead_letters')],
      3,
      /^stored twice/,
    ],
    ['an event at two offsets', [row(0, 0), row(1, 1), row(2, 2), row(3, 1)], 4, /^stored twice/],
    [
      'an unknown one at two offsets',
      [row(0, 0), row(1, 1), row(2, 2), row(3, 4), row(4, 4)],
      5,
      /^stored twice/,
    ],
    ['another event at the offset', [row(0, 1), row(1, 0), row(2, 2)], 3, /^another event/],
    ['a refused event that is stored', [row(0, 0), row(1, 1), row(2, 2), row(3, 3)], 4, /^a refused event/],
    [
      'an event that nobody sent',
      [row(0, 0), row(1, 1), row(2, 2), row(3, 9)],
      4,
      /^an event that nobody sent/,
    ],
    ['a row beyond the end', [row(0, 0), row(1, 1), row(2, 2), row(3, 4)], 3, /^a row beyond the end/],
  ])('sees %s', (_, delivered, end, expected) => {
    expect(audit(delivered, end).faults).toEqual([expect.stringMatching(expected)]);
  });

  test('sees an event that was acknowledged into a spool and never came out', () => {
    const ledger = new Ledger();
    for (const n of ledger.takeSerials(2)) ledger.acknowledgeSpooled(n);
    const bounds = { partition: 0, start: 0, end: 1, commit: undefined };
    const finding = compare(ledger, [row(0, 1)], { ...view, partitions: [bounds] });
    expect(finding).toMatchObject({ acknowledged: 2, spooled: 2, missing: 1 });
  });

  test('sees a record in the buffer that is not what was acknowledged, nor what the row says', () => {
    const records = new Map([[0, new Map([[0, 7]])]]);
    const ledger = new Ledger();
    const [n] = ledger.takeSerials(1) as [number];
    ledger.acknowledge(n, 0, 0);
    const bounds = { partition: 0, start: 0, end: 1, commit: undefined };
    const { faults } = compare(ledger, [row(0, n)], { ...view, partitions: [bounds], records });
    expect(faults).toEqual([
      expect.stringMatching(/^another event in the buffer .*0:0 holds 7, not 0/),
      expect.stringMatching(/^a row of events that is not its record .*0:0 is 0, the record 7/),
    ]);
  });

  test('lets pass what retention removed, and no more', () => {
    const expired = [{ partition: 0, from: 0, to: 1 }];
    expect(audit([row(1, 1), row(2, 2)], 3, { expired }).faults).toEqual([]);
    expect(audit([row(2, 2)], 3, { expired }).missing).toBe(1);
    const counted = audit([row(0, 0), row(1, 1), row(2, 2)], 3, { expired });
    expect(counted.faults).toEqual([expect.stringMatching(/^counted as expired/)]);
  });
});
