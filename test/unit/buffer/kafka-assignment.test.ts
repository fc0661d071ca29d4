import { expect, test } from 'vitest';
import {
  decodeSubscription,
  encodeSubscription,
  isStreamer,
} from '../../../src/buffer/kafka/group-protocol.ts';

test('a closed subscription is read by streamers, and has a version that there is none of', () => {
  const closed = encodeSubscription(['events'], true);
  expect([closed.readInt16BE(0), decodeSubscription(closed)]).toEqual([-1, ['events']]);
});

test('a streamer of the former version is known by its client id and by what it says of itself', () => {
  const mark = { clientId: 'millrace-streamer', topic: 'events' };
  const memberId = 'millrace-streamer-0e6d';
  const metadata = encodeSubscription(['events']);
  expect(isStreamer({ memberId, metadata }, mark)).toBe(true);
  expect(isStreamer({ memberId: 'rdkafka-0e6d', metadata }, mark)).toBe(false);
  expect(isStreamer({ memberId, metadata: encodeSubscription(['other']) }, mark)).toBe(false);
  expect(isStreamer({ memberId, metadata: Buffer.concat([metadata, Buffer.alloc(4)]) }, mark)).toBe(false);
  expect(isStreamer({ memberId, metadata: null }, mark)).toBe(false);
});
