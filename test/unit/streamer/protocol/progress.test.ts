import { describe, expect, test } from 'vitest';
import { encodeNote, readProgress } from '../../../../src/streamer/protocol/plan.ts';

const note = { topicId: 't', ids: undefined, settleUntil: undefined, plan: undefined };
const plan = { start: 100, end: 120, rows: 20, crc: 0, repeatsCrc: 0, token: 'x', sealedAt: 0 };
const viewOf = (text: string | undefined) => ({
  ...{ partition: 0, start: 40, end: 200 },
  commit: text === undefined ? undefined : { offset: 100, plan: text },
});

describe('progress', () => {
  test('is what was committed for this topic, with the insert in flight', () => {
    const open = viewOf(encodeNote({ ...note, plan }));
    expect(readProgress(open, 't')).toEqual({
      ...{ committed: 100, isCommitted: true },
      inFlight: { start: 100, end: 120 },
    });
    const idle = { committed: 100, isCommitted: true, inFlight: undefined };
    expect(readProgress(viewOf(encodeNote(note)), 't')).toEqual(idle);
    // An operator has set it.
    expect(readProgress(viewOf(''), 't')).toEqual(idle);
  });

  test('is none without a commit, or with one for a former topic of the same name', () => {
    const none = { committed: 40, isCommitted: false, inFlight: undefined };
    expect(readProgress(viewOf(undefined), 't')).toEqual(none);
    expect(readProgress(viewOf(encodeNote({ ...note, plan })), 'later')).toEqual(none);
  });

  test('is not read out of what another program has committed', () => {
    expect(() => readProgress(viewOf('theirs'), 't')).toThrow('--kafka-group');
  });
});
