/** Looks at a buffer from outside: its ends and what the streamers have committed. */
import { Kafka, logLevel } from 'kafkajs';
import type { Commit, TopicView } from '../../../src/buffer/buffer.ts';
import { readCommit, readPartition } from '../../../src/buffer/embedded/log-state.ts';
import { openLog } from '../../../src/buffer/embedded/open-log.ts';
import { describeTopic } from '../../../src/buffer/kafka/topics.ts';

/** Looks at the embedded log below a data directory, which must exist. */
export async function viewEmbedded(dataDir: string, topic: string, group: string): Promise<TopicView> {
  const options = { dir: `${dataDir}/log`, topic, partitions: 1, maxBytes: 2 ** 34 };
  const { environment, identity } = await openLog(options);
  try {
    const partitions = Array.from({ length: identity.partitions }, (_, partition) => {
      const commit = readCommit(environment, group, partition);
      return { partition, ...readPartition(environment, partition), commit };
    });
    return { topicId: identity.topicId, partitions };
  } finally {
    await environment.release();
  }
}

/** Looks at a topic of Kafka. */
export async function viewKafka(brokers: string, topic: string, group: string): Promise<TopicView> {
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
