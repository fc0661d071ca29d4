/** Connections to the leaders of a topic for questions about offsets: one request to each leader, not to each partition. */
import { maxFetchAnswerBytes } from './answer-guard.ts';
import { type BrokerLink, NotConnectedError } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { fetchOffsets } from './offsets.ts';

/** Links by broker, made as they are needed. */
export class LeaderLinks {
  readonly #cluster: Cluster;
  readonly #timeoutMs: number;
  /** By `host:port`. */
  readonly #links = new Map<string, BrokerLink>();

  /** `timeoutMs`: longest wait for an answer. */
  constructor(cluster: Cluster, timeoutMs: number) {
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
  }

  /** The link to the leader of a partition. @throws NotConnectedError while it has none, or does not exist */
  to(partition: number): BrokerLink {
    const leader = this.#cluster.topic?.leaders[partition];
    if (leader === undefined) throw new NotConnectedError(`${this.#cluster.name}/${partition} has no leader`);
    const name = `${leader.host}:${leader.port}`;
    const link =
      this.#links.get(name) ?? this.#cluster.createLink(leader, this.#timeoutMs, maxFetchAnswerBytes);
    this.#links.set(name, link);
    return link;
  }

  /**
   * Offsets of several partitions, as {@link fetchOffsets} gives those of one leader.
   * @throws Error when one of the leaders cannot be asked
   */
  async offsets(partitions: Iterable<number>, time: bigint): Promise<Map<number, number | undefined>> {
    const byLink = new Map<BrokerLink, number[]>();
    for (const partition of partitions) {
      const link = this.to(partition);
      const led = byLink.get(link);
      if (led === undefined) byLink.set(link, [partition]);
      else led.push(partition);
    }
    const { name: topic } = this.#cluster;
    const answers = [...byLink].map(([link, led]) => fetchOffsets(link, { topic, partitions: led, time }));
    return new Map((await Promise.all(answers)).flatMap((answer) => [...answer]));
  }

  /** Drops all connections. */
  close(): void {
    for (const link of this.#links.values()) link.close();
  }
}
