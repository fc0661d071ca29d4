/** The structure of `events` for those who insert: read again before it can be long out of date. */
import type { ClickHouse } from './client.ts';
import { type RowStructure, readStructure, type TablesOptions } from './tables.ts';

/**
 * How long a structure is used. When the type of `data` is altered meanwhile, rows sent with the former one are cast
 * to the new one: as rows that came just before the change.
 */
const maxAgeMs = 10_000;

/** Knows the structure of the table of one database. */
export class EventsStructure {
  readonly #clickhouse: ClickHouse;
  readonly #options: Pick<TablesOptions, 'database' | 'keepRaw'>;
  #known: { readonly structure: RowStructure; readonly readAt: number } | undefined;

  constructor(clickhouse: ClickHouse, options: Pick<TablesOptions, 'database' | 'keepRaw'>) {
    this.#clickhouse = clickhouse;
    this.#options = options;
  }

  /** The structure, at most a few seconds old. @throws ClickHouseError, ClickHouseUnavailableError */
  async current(): Promise<RowStructure> {
    const known = this.#known;
    const isFresh = known !== undefined && performance.now() - known.readAt < maxAgeMs;
    return isFresh ? known.structure : await this.read();
  }

  /** The structure as it is now. @throws ClickHouseError, ClickHouseUnavailableError */
  async read(): Promise<RowStructure> {
    const readAt = performance.now();
    const structure = await readStructure(this.#clickhouse, this.#options);
    this.#known = { structure, readAt };
    return structure;
  }
}
