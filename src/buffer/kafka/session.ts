/** One generation of the consumer group, from joining until it is over: heartbeats, and when it ends. */
import { pause } from '../pause.ts';
import type { Generation, GroupMember } from './group-member.ts';

/** Why a generation is over: `rebalance` lets work be finished first, after `lost` others may own it already. */
export type SessionEnd = { readonly kind: 'rebalance' | 'lost'; readonly reason: string };

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
  readonly #member: GroupMember;
  readonly #generation: Generation;
  readonly #timeoutMs: number;
  readonly #stopping = new AbortController();
  #resolveOver: (end: SessionEnd) => void = () => {};
  #resolveLost: () => void = () => {};
  #expiry: NodeJS.Timeout | undefined;

  constructor(member: GroupMember, generation: Generation, timeoutMs: number) {
    this.#member = member;
    this.#generation = generation;
    this.#timeoutMs = timeoutMs;
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
    this.#extend(generation.joinedAt);
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
      const sentAt = performance.now();
      try {
        const answer = await this.#member.heartbeat(this.#generation);
        if (signal.aborted) return;
        if (answer === 'expelled') this.lose('the group went on without this member');
        else this.#extend(sentAt);
        if (answer === 'rebalance') this.rebalance('the group shares its partitions anew');
      } catch {
        // No answer: the next heartbeat may get one; the expiry runs meanwhile.
      }
    }
  }

  #extend(since: number): void {
    clearTimeout(this.#expiry);
    const left = since + this.#timeoutMs - performance.now();
    const reason = `no heartbeat was answered for ${this.#timeoutMs} ms`;
    this.#expiry = setTimeout(() => this.lose(reason), Math.max(0, left));
  }
}
