/** Writes record batches into a topic as they are, as any producer that may write to it can. */
import { BrokerLink, parseAddress } from '../../src/buffer/kafka/broker-link.ts';
import {
  fetchLayout,
  produceApi,
  produceHeadBytes,
  writeProduceHead,
} from '../../src/buffer/kafka/messages.ts';

/** Gives the offset of the first record. @throws Error when the broker refuses the batch */
export async function produceRaw(
  brokers: string,
  { topic, partition, batch }: { topic: string; partition: number; batch: Buffer },
): Promise<number> {
  const options = { clientId: 'foreign', requestTimeoutMs: 30_000 };
  const seed = new BrokerLink(parseAddress(brokers.split(',')[0] ?? ''), options);
  const leader = (await fetchLayout(seed, [topic])).topics.get(topic)?.leaders[partition];
  seed.close();
  if (leader === undefined) throw new Error(`${topic}/${partition} has no leader`);
  const link = new BrokerLink(leader, options);
  const request = Buffer.concat([Buffer.alloc(produceHeadBytes(topic)), batch]);
  writeProduceHead(request, { topic, partition, ackTimeoutMs: 30_000 });
  const { code, baseOffset, message } = await link.request(produceApi, request);
  link.close();
  if (code !== 0) throw new Error(`the broker refuses the batch with ${code}: ${message}`);
  return baseOffset;
}
