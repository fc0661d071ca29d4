/** One generation of the consumer group, from joining until it is over: heartbeats, and when it ends. */
import { type Clock, type Moment, msBetween, pause, systemClock } from '../../time.ts';
import { isKafkaTrouble, reasonOf } from './errors.ts';
import type { Generation, GroupMember } from './group-member.ts';

/** Why a generation is over: `rebalance` lets work be finished first, after `lost` others may own it already. */
type SessionEnd = { readonly kind: 'rebalance' | 'lost'; readonly reason: string };

/**
 * Sends heartbeats until stopped, also while work is being finished after a rebalance has begun. Counts the
 * session timeout itself, from when the last answered heartbeat was sent: a process that cannot reach the
 * broker gives up its partitions no later than the broker gives them away.
 */
export class Session {
  /** Resolves when the generation should be given up. */
  readonly over: Promise<SessionEnd>;
  /** Resolves when it is gone, which may be later than `over`. */
  readonly lost: Promise<void>;
  readonly #member: Pick<GroupMember, 'heartbeat'>;
  readonly #generation: Generation;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  #resolveOver: (end: SessionEnd) => void = () => {};
  #resolveLost: () => void = () => {};
  #expiry: NodeJS.Timeout | undefined;
  /** When the last heartbeat that was answered was sent. */
  #confirmedAt: Moment;
  /** Why the last heartbeat got no answer. */
  #trouble: string | undefined;

  constructor(
    member: Pick<GroupMember, 'heartbeat'>,
    generation: Generation,
    timeoutMs: number,
    clock: Clock = systemClock,
  ) {
    this.#clock = clock;
    this.#member = member;
    this.#generation = generation;
    this.#timeoutMs = timeoutMs;
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
    this.#confirmedAt = generation.joinedAt;
    this.#confirm(generation.joinedAt);
    // Nobody waits for it: what is no trouble of Kafka ends the process.
    void this.#beat();
  }

  /** Gives the generation up for a reason of our own; heartbeats go on until `stop`. */
  rebalance(reason: string): void {
    this.#resolveOver({ kind: 'rebalance', reason });
  }

  /** The broker said, in answer to something else, that the generation is over. */
  lose(reason: string): void {
    this.#resolveOver({ kind: 'lost', reason });
    this.#resolveLost();
    this.stop();
  }

  /** Ends the heartbeats. */
  stop(): void {
    clearTimeout(this.#expiry);
    this.#stopping.abort();
  }

  async #beat(): Promise<void> {
    const { signal } = this.#stopping;
    const intervalMs = Math.min(3000, this.#timeoutMs / 10);
    while (!signal.aborted) {
      await pause(intervalMs, signal);
      if (signal.aborted) return;
      const sentAt = this.#clock();
      // Timers stand still on a suspended machine: what it finds when it wakes up may be over long ago.
      if (msBetween(this.#confirmedAt, sentAt) >= this.#timeoutMs) {
        this.#expire();
        return;
      }
      try {
        const answer = await this.#member.heartbeat(this.#generation);
        if (signal.aborted) return;
        if (answer === 'expelled') this.lose('the group continued without this member');
        else this.#confirm(sentAt);
        if (answer === 'rebalance') this.rebalance('the group is reassigning its partitions');
      } catch (error) {
        if (!isKafkaTrouble(error)) throw error;
        // The next heartbeat may get an answer; the expiry runs meanwhile, and tells why there was none.
        this.#trouble = reasonOf(error);
      }
    }
  }

  #confirm(at: Moment): void {
    this.#confirmedAt = at;
    this.#trouble = undefined;
    clearTimeout(this.#expiry);
    const left = this.#timeoutMs - msBetween(at, this.#clock());
    this.#expiry = setTimeout(() => this.#expire(), Math.max(0, left));
  }

  #expire(): void {
    const reason = this.#trouble === undefined ? '' : `: ${this.#trouble}`;
    this.lose(`no heartbeat was answered for ${this.#timeoutMs} ms${reason}`);
  }
}
