/** The broker that keeps a consumer group: finding it, and asking it. */
import { type API, findCoordinatorV4 } from '@platformatic/kafka';
import { type BrokerLink, NotConnectedError } from './broker-link.ts';
import type { Cluster } from './cluster.ts';
import { codeOf, isNetworkTrouble, kafkaCodes } from './errors.ts';

/**
 * What a request is for. Each has its own connection: a join waits for all other members, and must hold up
 * neither heartbeats nor commits.
 */
type CoordinatorPurpose = 'join' | 'heartbeat' | 'offsets';

const groupKeyType = 0;

/** Codes that say that another broker is the coordinator, or soon will be. */
const movedCodes = new Set<number>([
  kafkaCodes.coordinatorLoadInProgress,
  kafkaCodes.coordinatorNotAvailable,
  kafkaCodes.notCoordinator,
]);

/** Whether the same request may succeed later: the way there failed, or the coordinator is not ready. */
export function isCoordinatorTrouble(error: unknown): boolean {
  const code = codeOf(error);
  if (code === undefined) return isNetworkTrouble(error);
  return movedCodes.has(code) || code === kafkaCodes.requestTimedOut;
}

/** Sends requests to the coordinator of one group. Never repeats one. */
export class Coordinator {
  readonly group: string;
  readonly #cluster: Cluster;
  readonly #timeoutsMs: Record<CoordinatorPurpose, number>;
  readonly #links = new Map<CoordinatorPurpose, Promise<BrokerLink>>();
  #isClosed = false;

  /** `timeoutsMs`: longest wait for an answer, by purpose. */
  constructor(cluster: Cluster, group: string, timeoutsMs: Record<CoordinatorPurpose, number>) {
    this.#cluster = cluster;
    this.group = group;
    this.#timeoutsMs = timeoutsMs;
  }

  /** Sends one request. @throws what the link throws; see {@link isCoordinatorTrouble} */
  async request<Args extends unknown[], Result>(
    purpose: CoordinatorPurpose,
    api: API<Args, Result>,
    ...args: Args
  ): Promise<Result> {
    let link = this.#links.get(purpose);
    if (link === undefined) {
      link = this.#find(purpose);
      this.#links.set(purpose, link);
    }
    try {
      return await (await link).request(api, ...args);
    } catch (error) {
      // Look again next time, wherever the trouble was.
      if (isCoordinatorTrouble(error)) this.#forget(purpose, link);
      throw error;
    }
  }

  /** Drops the connection of one purpose; what is in flight on it rejects. */
  drop(purpose: CoordinatorPurpose): void {
    const link = this.#links.get(purpose);
    if (link !== undefined) this.#forget(purpose, link);
  }

  /** Drops all connections. */
  close(): void {
    this.#isClosed = true;
    for (const purpose of this.#links.keys()) this.drop(purpose);
  }

  #forget(purpose: CoordinatorPurpose, link: Promise<BrokerLink>): void {
    if (this.#links.get(purpose) === link) this.#links.delete(purpose);
    link.then(
      (open) => open.close(),
      () => {},
    );
  }

  async #find(purpose: CoordinatorPurpose): Promise<BrokerLink> {
    const answer = await this.#cluster.any().request(findCoordinatorV4.api, groupKeyType, [this.group]);
    const found = answer.coordinators[0];
    if (found === undefined || this.#isClosed)
      throw new NotConnectedError(`no coordinator for group ${this.group}`);
    return this.#cluster.createLink({ host: found.host, port: found.port }, this.#timeoutsMs[purpose]);
  }
}
