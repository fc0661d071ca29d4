import { describe, inject } from 'vitest';
import { describeBuffer } from '../support/buffer-conformance.ts';
import { createKafkaFixture } from '../support/kafka-fixture.ts';

const brokers = inject('kafkaBrokers');

describe.skipIf(brokers === undefined)('with a real Kafka', () => {
  describeBuffer('kafka buffer', () => createKafkaFixture(brokers ?? ''));
});
