/** Looks at a buffer from outside: its ends and what the streamers have committed. */
import { Kafka, logLevel } from 'kafkajs';
import { pino } from 'pino';
import type { BufferInspector, Commit, TopicView } from '../../../src/buffer/buffer.ts';
import { openEmbeddedInspector } from '../../../src/buffer/embedded/inspector.ts';
import { openKafkaInspector } from '../../../src/buffer/kafka/inspector.ts';
import { describeTopic } from '../../../src/buffer/kafka/topics.ts';

/** A buffer as the scenarios use it. */
export interface Place {
  readonly dataDir: string;
  /** Brokers of Kafka; the embedded log without. */
  readonly brokers?: string | undefined;
  readonly topic: string;
  readonly group: string;
}

const maxBytes = 16 * 1024 ** 3;

/** Looks at a buffer as it is now. The embedded log must exist. */
export async function viewTopic(place: Place): Promise<TopicView> {
  if (place.brokers !== undefined) return await viewKafka(place.brokers, place);
  const inspector = await openInspector(place);
  try {
    return await inspector.view();
  } finally {
    await inspector.close();
  }
}

/** Reads the serials of all records in the buffer, by partition and offset; -1 for a record without one. */
export async function readSerials(place: Place): Promise<Map<number, Map<number, number>>> {
  const inspector = await openInspector(place);
  try {
    const serials = new Map<number, Map<number, number>>();
    for (const { partition, start, end } of (await inspector.view()).partitions) {
      const own = new Map<number, number>();
      serials.set(partition, own);
      for (let at = start; at < end; ) {
        const { blocks, next } = await inspector.read(partition, at, { maxBytes: 4 * 1024 ** 2 });
        for (const block of blocks) {
          for (let i = 0; i < block.count; i++) {
            const value = Buffer.from(block.bytes.subarray(block.starts[i], block.ends[i])).toString();
            own.set(block.offsets[i] as number, Number(/"n":(\d+)/.exec(value)?.[1] ?? -1));
          }
        }
        at = next;
      }
    }
    return serials;
  } finally {
    await inspector.close();
  }
}

async function openInspector({ dataDir, brokers, topic, group }: Place): Promise<BufferInspector> {
  if (brokers === undefined)
    return await openEmbeddedInspector({ dir: `${dataDir}/log`, topic, group, maxBytes });
  return await openKafkaInspector({
    brokers: brokers.split(','),
    topic,
    group,
    clientId: 'faults',
    log: pino({ level: 'silent' }),
  });
}

/** With another client than the program's, so that both can be compared. */
async function viewKafka(brokers: string, { topic, group }: Place): Promise<TopicView> {
  return await withAdmin(brokers, async (admin) => {
    const [committed] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    const bounds = await admin.fetchTopicOffsets(topic);
    const { id } = await describeTopic({ brokers: brokers.split(','), topic, clientId: 'faults' });
    const commits = new Map<number, Commit>();
    for (const { partition, offset, metadata } of committed?.partitions ?? []) {
      if (Number(offset) >= 0) commits.set(partition, { offset: Number(offset), plan: metadata ?? '' });
    }
    const partitions = bounds
      .map(({ partition, low, high }) => {
        return { partition, start: Number(low), end: Number(high), commit: commits.get(partition) };
      })
      .sort((a, b) => a.partition - b.partition);
    return { topicId: id ?? '', partitions };
  });
}

/** Runs something with an admin client of Kafka. */
export async function withAdmin<T>(
  brokers: string,
  work: (admin: ReturnType<Kafka['admin']>) => Promise<T>,
): Promise<T> {
  const admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
