/** When a generation is over, also on a machine that was suspended: timers and `performance.now()` stand still there. */
import { NetworkError } from '@platformatic/kafka';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Generation, HeartbeatAnswer } from '../../../src/buffer/kafka/group-member.ts';
import { Session } from '../../../src/buffer/kafka/session.ts';

// The timers of node:timers/promises are none that can be faked.
vi.mock('../../../src/time.ts', async (original) => ({
  ...(await original<typeof import('../../../src/time.ts')>()),
  pause: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
}));

const timeoutMs = 6_000;
const intervalMs = 600;
let steady = 0;
let wall = 0;
const sessions: Session[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  steady = 1_000;
  wall = 1_000_000;
});

afterEach(() => {
  for (const session of sessions.splice(0)) session.stop();
  vi.useRealTimers();
});

/** Both clocks and all timers go on. */
async function pass(milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= 100) {
    steady += 100;
    wall += 100;
    await vi.advanceTimersByTimeAsync(100);
  }
}

function open(heartbeat: () => Promise<HeartbeatAnswer>) {
  const clock = () => ({ steady, wall });
  const generation: Generation = {
    ...{ memberId: 'm', id: 1, partitions: [0], isLeader: true, strangers: [] },
    joinedAt: clock(),
  };
  const session = new Session({ heartbeat }, generation, timeoutMs, clock);
  sessions.push(session);
  const ends: string[] = [];
  void session.over.then(({ kind, reason }) => ends.push(`${kind}: ${reason}`));
  return ends;
}

test('it lasts as long as heartbeats are answered', async () => {
  const ends = open(async () => 'alive');
  await pass(5 * timeoutMs);
  expect(ends).toEqual([]);
});

test('it is lost when none was answered for the session timeout, and the reason is told', async () => {
  const ends = open(async () => {
    throw new NetworkError('connect ECONNREFUSED');
  });
  await pass(timeoutMs - 200);
  expect(ends).toEqual([]);
  await pass(400);
  expect(ends).toEqual(['lost: no heartbeat was answered for 6000 ms: connect ECONNREFUSED']);
});

test('a machine that was suspended for longer than that has lost it when it wakes up', async () => {
  let beats = 0;
  const ends = open(async () => {
    beats++;
    return 'alive';
  });
  await pass(2 * intervalMs);
  const before = beats;
  // Neither timers nor the steady clock noticed.
  wall += timeoutMs;
  await pass(intervalMs);
  expect(ends).toEqual(['lost: no heartbeat was answered for 6000 ms']);
  expect(beats).toBe(before);
});

test('a wall clock that is set back changes nothing', async () => {
  const ends = open(async () => 'alive');
  await pass(intervalMs);
  wall -= 3_600_000;
  await pass(3 * timeoutMs);
  expect(ends).toEqual([]);
});
