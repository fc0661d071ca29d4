/**
 * A process that drains a spool into Kafka, as a collector does, until it is killed. Its argument is JSON:
 * `dir`, `topic`, `brokers`, `clientId`.
 */
import { pino } from 'pino';
import { openKafkaWriter } from '../../dist/buffer/kafka/writer.js';
import { openSpool } from '../../dist/spool/spool.js';

const { dir, topic, brokers, clientId } = JSON.parse(process.argv[2]);
const log = pino({ level: process.env.MILLRACE_TEST_LOG ?? 'silent' });
const kafka = { brokers: [brokers], topic, clientId, compression: 'snappy', deliveryTimeoutMs: 10_000 };
const writer = openKafkaWriter({ ...kafka, log });
const spool = await openSpool({ dir, maxBytes: 1024 ** 3, writer, takesEvents: true, log });
process.send?.('open');
process.once('disconnect', async () => {
  await spool.close();
  await writer.close();
});
