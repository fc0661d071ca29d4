/** What an owner tries again, what it tells of it, and what it does not take for a failure of the network. */
import { NetworkError } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { FencedError, type OwnedPartition } from '../../../src/buffer/buffer.ts';
import type { Coordinator } from '../../../src/buffer/kafka/coordinator.ts';
import { KafkaError, kafkaCodes } from '../../../src/buffer/kafka/errors.ts';
import { KafkaPartition } from '../../../src/buffer/kafka/owned-partition.ts';
import { InvariantError } from '../../../src/errors.ts';

/** An owner whose questions to the coordinator fail with these, one after the other, and then are answered. */
function open(failures: Error[]) {
  const told: string[] = [];
  const request = async () => {
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    return { groups: [] };
  };
  const link = { address: { host: 'h', port: 1 }, request, close: () => {} };
  const cluster = {
    ...{ name: 'events', topic: { id: 't', leaders: [link.address] } },
    ...{ hurry: () => {}, createLink: () => link },
  };
  const context = {
    cluster: cluster as never,
    coordinator: { group: 'g', request } as unknown as Coordinator,
    generation: { memberId: 'm', id: 1 } as never,
    ...{ topicId: 't', sessionTimeoutMs: 6_000 },
    onFenced: () => told.push('fenced'),
    onTrouble: (what: string, reason: string | undefined) => told.push(`${what}: ${reason}`),
  };
  return { partition: new KafkaPartition(context, 0), told };
}

/** The calls of an owner that try again for ever. */
const calls: [string, (partition: OwnedPartition) => Promise<unknown>][] = [
  ['commit', (partition) => partition.commit(1, 'plan')],
  ['committed', (partition) => partition.committed()],
  ['read', (partition) => partition.read(0, { maxBytes: 1, maxWaitMs: 1_000 })],
];

test.each(calls)('%s throws what is a fault of the program, and tries nothing again', async (_name, call) => {
  for (const fault of [new TypeError('x is not a function'), new InvariantError('no')]) {
    await expect(call(open([fault]).partition)).rejects.toBe(fault);
  }
});

test.each(calls.slice(0, 2))('%s tries again when the network fails', async (_name, call) => {
  await call(open([new NetworkError('cut'), new NetworkError('cut')]).partition);
});

test('a streak of failures is told once it is no accident, and when it is over', async () => {
  const cut = () => new NetworkError('cut');
  const { partition, told } = open([cut(), cut(), cut()]);
  await partition.commit(5, 'plan');
  expect(told).toEqual([]);
  const longer = open([cut(), cut(), cut(), cut(), new KafkaError(kafkaCodes.notCoordinator, 'asking')]);
  await longer.partition.commit(5, 'plan');
  expect(longer.told).toEqual([
    'commit events/0: events/0: offset 5 cannot be committed: cut',
    'commit events/0: events/0: offset 5 cannot be committed: asking: NOT_COORDINATOR',
    'commit events/0: undefined',
  ]);
});

test('a refusal of the generation ends it', async () => {
  const { partition, told } = open([new KafkaError(kafkaCodes.illegalGeneration, 'committing')]);
  await expect(partition.commit(5, 'plan')).rejects.toThrow(FencedError);
  expect(told).toEqual(['fenced']);
});
