/** Counts refusals by reason as they come, since keeping each would take memory without a limit. */
import { columnOf } from '../clickhouse/errors.ts';
import type { DeadLetter, Refusal } from '../clickhouse/rows/dead-letter.ts';
import { patternOf } from './reason.ts';

/** Dead letters that are refused for the same reason. */
export interface RefusedGroup {
  count: number;
  readonly code: number;
  readonly column: string;
  /** Without what differs from row to row. */
  readonly reason: string;
  readonly first: { readonly topic: string; readonly partition: number; readonly offset: number };
}

/** Kinds that are counted apart; reasons can hold text of the events, so that each could be of its own kind. */
const mostKinds = 1_000;
/** Kinds that are told. */
const mostGroups = 50;

/** Dead letters that ClickHouse still refuses. */
export class RefusedTally {
  #count = 0;
  readonly #groups = new Map<string, RefusedGroup>();

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Counts one. */
  add({ topic, partition, offset }: DeadLetter, { code, detail }: Refusal): void {
    this.#count++;
    const column = columnOf(detail);
    const reason = patternOf(detail);
    const key = JSON.stringify([code, column, reason]);
    const group = this.#groups.get(key);
    if (group !== undefined) group.count++;
    else if (this.#groups.size < mostKinds)
      this.#groups.set(key, { count: 1, code, column, reason, first: { topic, partition, offset } });
  }

  /** By reason, the most frequent first, at most 50. */
  groups(): RefusedGroup[] {
    return [...this.#groups.values()].sort((a, b) => b.count - a.count).slice(0, mostGroups);
  }

  /** How many are in none of the {@link groups}. */
  get others(): number {
    return this.groups().reduce((left, { count }) => left - count, this.#count);
  }
}
