/** What a producer may say of a batch, and under which numbers the next one goes, whatever a leader answers. */
import { expect, test } from 'vitest';
import {
  BufferUnavailableError,
  OutcomeUnknownError,
  RecordsRefusedError,
  TicketLostError,
} from '../../../src/buffer/buffer.ts';
import { kafkaCodes } from '../../../src/buffer/kafka/errors.ts';
import { PartitionProducer } from '../../../src/buffer/kafka/partition-producer.ts';
import { batchOf } from '../../support/kafka-faults.ts';
import { createModelLeader } from '../../support/model-leader.ts';

const timeoutMs = 300;

/** Codes that a leader may answer although it, or its followers, have the batch. */
const afterAppend = [
  ['UNKNOWN_SERVER_ERROR', kafkaCodes.unknownServerError],
  ['UNKNOWN_TOPIC_OR_PARTITION', kafkaCodes.unknownTopicOrPartition],
  ['LEADER_NOT_AVAILABLE', kafkaCodes.leaderNotAvailable],
  ['NOT_LEADER_OR_FOLLOWER', kafkaCodes.notLeaderOrFollower],
  ['REQUEST_TIMED_OUT', kafkaCodes.requestTimedOut],
  ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', kafkaCodes.notEnoughReplicasAfterAppend],
  ['KAFKA_STORAGE_ERROR', kafkaCodes.kafkaStorageError],
  ['a code of a later Kafka', 999],
] as const;

/** Codes that a leader answers before it appends anything. */
const beforeAppend = [
  ['CORRUPT_MESSAGE', kafkaCodes.corruptMessage, BufferUnavailableError],
  ['NOT_ENOUGH_REPLICAS', kafkaCodes.notEnoughReplicas, BufferUnavailableError],
  ['MESSAGE_TOO_LARGE', kafkaCodes.messageTooLarge, RecordsRefusedError],
  ['INVALID_RECORD', kafkaCodes.invalidRecord, RecordsRefusedError],
  ['TOPIC_AUTHORIZATION_FAILED', kafkaCodes.topicAuthorizationFailed, RecordsRefusedError],
] as const;

function open() {
  const leader = createModelLeader();
  const producer = new PartitionProducer(leader.context(timeoutMs), 0);
  return { leader, append: (...values: string[]) => producer.append(batchOf(values)) };
}

test.each(afterAppend)(
  'appended, then %s, and no leader until the time is over: unknown, and the next batch is its own',
  async (_name, code) => {
    const { leader, append } = open();
    expect(await append('a')).toBe(0);
    leader.answerWith(code, { appends: true });
    await expect(append('b')).rejects.toThrow(OutcomeUnknownError);
    leader.answerWith(undefined);
    // Under the numbers of b it would pass for its repeat: acknowledged, and stored nowhere.
    expect(await append('c')).toBe(2);
    expect(leader.values).toEqual(['a', 'b', 'c']);
  },
);

test.each(afterAppend.filter(([, code]) => code !== 999))(
  'appended, then %s, and answered within the time: stored once',
  async (_name, code) => {
    const { leader, append } = open();
    leader.answerWith(code, { appends: true, times: 1 });
    expect(await append('a', 'b')).toBe(0);
    expect(await append('c')).toBe(2);
    expect(leader.values).toEqual(['a', 'b', 'c']);
  },
);

test.each(beforeAppend)('%s: nothing was stored, and that is said', async (_name, code, kind) => {
  const { leader, append } = open();
  expect(await append('a')).toBe(0);
  leader.answerWith(code, { appends: false });
  const failed = append('b');
  await expect(failed).rejects.toThrow(kind);
  await expect(failed).rejects.not.toThrow(OutcomeUnknownError);
  leader.answerWith(undefined);
  expect(await append('c')).toBe(1);
  expect(leader.values).toEqual(['a', 'c']);
});

test('a refusal does not make a batch unstored that may be stored', async () => {
  const { leader, append } = open();
  leader.answerWith(kafkaCodes.notLeaderOrFollower, { appends: true, times: 1 });
  leader.answerWith(kafkaCodes.messageTooLarge, { appends: false, after: 1 });
  await expect(append('a')).rejects.toThrow(OutcomeUnknownError);
});

test('a batch that was never sent is surely not stored, and costs no numbers', async () => {
  const { leader, append } = open();
  expect(await append('a')).toBe(0);
  leader.isAway = true;
  const failed = append('b');
  await expect(failed).rejects.toThrow(/nothing was stored/);
  await expect(failed).rejects.not.toThrow(OutcomeUnknownError);
  leader.isAway = false;
  expect(await append('c')).toBe(1);
  expect(leader.producerIds).toBe(1);
});

test('numbers that the leader does not know are replaced only while nothing can be stored under them', async () => {
  const { leader, append } = open();
  expect(await append('a')).toBe(0);
  leader.answerWith(kafkaCodes.outOfOrderSequenceNumber, { appends: false, times: 1 });
  expect(await append('b')).toBe(1);
  leader.answerWith(kafkaCodes.notLeaderOrFollower, { appends: true, times: 1 });
  leader.answerWith(kafkaCodes.outOfOrderSequenceNumber, { appends: false, times: 1, after: 1 });
  await expect(append('c')).rejects.toThrow(OutcomeUnknownError);
  expect(leader.values).toEqual(['a', 'b', 'c']);
});

test('what is no failure of the network is not taken for one', async () => {
  const { leader, append } = open();
  leader.failWith(new TypeError('undefined is not a function'));
  await expect(append('a')).rejects.toThrow(TypeError);
});

test('given numbers are the only ones used, and a batch that the leader has is not stored again', async () => {
  const leader = createModelLeader();
  const append = () =>
    new PartitionProducer(leader.context(timeoutMs), 0, { id: 7n, epoch: 0, sequence: 0 }).append(
      batchOf(['a']),
    );
  leader.answerWith(kafkaCodes.unknownProducerId, { appends: false });
  await expect(append()).rejects.toThrow(TicketLostError);
  leader.answerWith(kafkaCodes.notLeaderOrFollower, { appends: true });
  await expect(append()).rejects.toThrow(OutcomeUnknownError);
  leader.answerWith(undefined);
  expect([await append(), await append()]).toEqual([0, 0]);
  expect([leader.values, leader.producerIds]).toEqual([['a'], 0]);
});
