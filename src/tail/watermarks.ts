/** Which row of each partition was printed last, and the SQL conditions that follow from it. */

/** Where a row came from. */
export interface RowPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** A condition and the values of its parameters. */
export interface Condition {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/**
 * The highest offset seen in each partition. Rows are told apart by their offset and not by their time: many
 * rows share a time, and partitions reach the table out of order, but within one, offsets arrive in order.
 */
export class Watermarks {
  readonly #topics = new Map<string, Map<number, number>>();

  /** Takes note of a row. Rows may come in any order. */
  advance({ topic, partition, offset }: RowPosition): void {
    const partitions = this.#topics.get(topic) ?? new Map<number, number>();
    this.#topics.set(topic, partitions);
    partitions.set(partition, Math.max(offset, partitions.get(partition) ?? offset));
  }

  /** True of the rows up to the watermarks, and of no others. */
  isSeen(): Condition {
    const { terms, params } = this.#compare('<=');
    return { sql: terms.length === 0 ? '0' : `(${terms.join(' OR ')})`, params };
  }

  /** True of the rows after the watermarks, and of all rows of partitions that were not seen. */
  isNew(): Condition {
    const { terms, params } = this.#compare('>');
    const known = [...this.#topics.values()].map(
      (partitions, index) =>
        `(topic = {t${index}:String} AND partition IN (${[...partitions.keys()].join(', ')}))`,
    );
    const unseen = known.length === 0 ? '1' : `NOT (${known.join(' OR ')})`;
    return { sql: `(${[...terms, unseen].join(' OR ')})`, params };
  }

  #compare(operator: '<=' | '>'): { terms: string[]; params: Record<string, string> } {
    const terms: string[] = [];
    const params: Record<string, string> = {};
    for (const [index, [topic, partitions]] of [...this.#topics].entries()) {
      params[`t${index}`] = topic;
      for (const [partition, offset] of partitions) {
        terms.push(
          `(topic = {t${index}:String} AND partition = ${partition} AND offset ${operator} ${offset})`,
        );
      }
    }
    return { terms, params };
  }
}
