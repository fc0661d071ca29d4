/** What became of an acknowledged event: asks the buffer and ClickHouse about one receipt. */
import { type BufferInspector, OffsetOutOfRangeError, type TopicView } from '../buffer/buffer.ts';
import { type ClickHouse, quoteText } from '../clickhouse/client.ts';
import { authenticationCodes, ClickHouseError, isMissingTable } from '../clickhouse/errors.ts';
import { deliveryTables, findTables, syncReplica, type Tables } from '../clickhouse/tables.ts';
import { messageOf } from '../errors.ts';
import { readProgress } from '../streamer/protocol/plan.ts';

/** Names an event in the buffer as the collector did when it acknowledged it. */
export interface ReceiptName {
  readonly partition: number;
  readonly offset: number;
}

/**
 * Where the event is; the properties are those of the answer's JSON. Times are RFC 3339, UTC. Offsets can be guessed, so
 * nothing here is from the event itself: not the reason of ClickHouse either, which quotes it.
 */
type ReceiptState =
  | { readonly state: 'accepted' }
  | { readonly state: 'stored'; readonly stored_at: string; readonly received_at: string }
  | {
      readonly state: 'dead_letter';
      readonly refused_at: string;
      /** Error code of ClickHouse. */
      readonly code: number;
      /** Column of the schema that the value was for; empty when ClickHouse names none of those. */
      readonly column: string;
    }
  | { readonly state: 'repeat'; readonly earlier_offset: number };

/** What a lookup came to. */
type LookupResult =
  | ReceiptState
  /** There is no such receipt, or nothing is left of it; `detail` says which. */
  | { readonly state: 'unknown'; readonly detail: string }
  /** The buffer or ClickHouse cannot be asked now. */
  | { readonly state: 'unavailable'; readonly detail: string }
  /** As many lookups as are allowed are under way. */
  | { readonly state: 'overloaded'; readonly detail: string };

/** Looks receipts up. */
export interface ReceiptLookup {
  /** Never rejects. */
  find(name: ReceiptName): Promise<LookupResult>;
  close(): Promise<void>;
}

/** What a lookup needs; both ends are opened when they are first needed. */
interface ReceiptLookupOptions {
  openInspector(): Promise<BufferInspector>;
  createClickHouse(): ClickHouse;
  readonly tables: Tables;
  /** Names of the columns of the schema. Others were read out of a message that quotes the event. */
  readonly columns: ReadonlySet<string>;
}

/** Lookups at a time in one process: they must not take the buffer or ClickHouse from those who need it more. */
const mostLookups = 16;
/** A view may be so old where it cannot change the answer, milliseconds. */
const viewAgeMs = 1_000;
/** A lookup that has to scan gives up after so long, and takes one thread. */
const querySettings = {
  max_execution_time: 10,
  max_threads: 1,
  date_time_output_format: 'iso',
  output_format_json_quote_64bit_integers: 0,
} as const;

interface FoundRow {
  readonly source: 'event' | 'dead_letter' | 'repeat';
  readonly received_at: string;
  readonly at: string;
  readonly number: number;
  readonly column: string;
}

/** Makes a lookup; nothing is opened before the first one. */
export function createReceiptLookup(options: ReceiptLookupOptions): ReceiptLookup {
  return new Lookup(options);
}

class Lookup implements ReceiptLookup {
  readonly #options: ReceiptLookupOptions;
  #inspector: Promise<BufferInspector> | undefined;
  #clickhouse: ClickHouse | undefined;
  #view: { readonly at: number; readonly view: TopicView } | undefined;
  #running = 0;
  #isClosed = false;

  constructor(options: ReceiptLookupOptions) {
    this.#options = options;
  }

  async find(name: ReceiptName): Promise<LookupResult> {
    if (this.#running >= mostLookups) {
      const detail = `the collector is at its limit of ${mostLookups} receipt lookups in progress; try again`;
      return { state: 'overloaded', detail };
    }
    this.#running++;
    try {
      if (this.#isClosed) return { state: 'unavailable', detail: 'the collector is stopping' };
      return await this.#findRecord(name);
    } catch (error) {
      if (error instanceof ClickHouseError && authenticationCodes.includes(error.code)) this.#forgetClient();
      return { state: 'unavailable', detail: messageOf(error).slice(0, 500) };
    } finally {
      this.#running--;
    }
  }

  /** The next lookup asks with a password that may have been made since. */
  #forgetClient(): void {
    const client = this.#clickhouse;
    this.#clickhouse = undefined;
    void client?.close().catch(() => {});
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const inspector = await this.#inspector?.catch(() => undefined);
    await Promise.all([inspector?.close(), this.#clickhouse?.close()]);
  }

  /** The buffer first: what was below its commit then is in ClickHouse now, or nowhere. */
  async #findRecord(name: ReceiptName): Promise<LookupResult> {
    const { partition, offset } = name;
    const inspector = await this.#openInspector();
    const { topicId, partitions } = await this.#lookAt(inspector, name);
    const view = partitions[partition];
    if (view === undefined) {
      const detail = `topic ${inspector.topic} has ${partitions.length} partitions; there is no partition ${partition}`;
      return { state: 'unknown', detail };
    }
    if (offset >= view.end) {
      const detail = `partition ${partition} of topic ${inspector.topic} ends before offset ${offset}`;
      return { state: 'unknown', detail };
    }
    const condition = [
      `topic = ${quoteText(inspector.topic)} AND topic_id = ${quoteText(topicId)}`,
      `partition = ${partition} AND offset = ${offset}`,
      ...(await receivedAt(inspector, name)),
    ].join(' AND ');
    const found = await this.#query(condition);
    if (found !== undefined) return found;
    if (offset >= readProgress(view, topicId).committed) return { state: 'accepted' };
    const later = await this.#queryInSync(condition);
    if (later !== undefined) return later;
    const detail = `offset ${offset} of partition ${partition} was delivered, but no table holds it: its row was removed, or the record is not an event`;
    return { state: 'unknown', detail };
  }

  async #query(condition: string): Promise<ReceiptState | undefined> {
    const { events, deadLetters, repeats } = this.#options.tables;
    this.#clickhouse ??= this.#options.createClickHouse();
    const sql = `
      SELECT * FROM (
        SELECT 'event' AS source, received_at, stored_at AS at, toUInt64(0) AS number, '' AS column
        FROM ${events} WHERE ${condition} LIMIT 1 UNION ALL
        SELECT 'dead_letter', received_at, refused_at, toUInt64(code), "column"
        FROM ${deadLetters} WHERE ${condition} LIMIT 1 UNION ALL
        SELECT 'repeat', received_at, received_at, earlier_offset, ''
        FROM ${repeats} WHERE ${condition} LIMIT 1
      )`;
    const rows = await this.#clickhouse
      .query<FoundRow>(sql, { settings: querySettings })
      .catch((error: unknown) => {
        // No streamer has run, so nothing is stored.
        if (isMissingTable(error)) return [];
        throw error;
      });
    // A dead letter that was replayed is an event.
    const sources = ['event', 'repeat', 'dead_letter'] as const;
    const row = sources.map((source) => rows.find((one) => one.source === source)).find(Boolean);
    return row === undefined ? undefined : this.#describe(row);
  }

  #describe({ source, received_at, at, number, column }: FoundRow): ReceiptState {
    if (source === 'event') return { state: 'stored', stored_at: at, received_at };
    if (source === 'repeat') return { state: 'repeat', earlier_offset: number };
    const known = this.#options.columns.has(column) ? column : '';
    return { state: 'dead_letter', refused_at: at, code: number, column: known };
  }

  /** Asks again once this replica has what the others have; not needed where there is one only. */
  async #queryInSync(condition: string): Promise<ReceiptState | undefined> {
    if (this.#clickhouse === undefined) return undefined;
    const { database } = this.#options.tables;
    const tables = await findTables(this.#clickhouse, { database, cluster: undefined });
    if (!tables.isReplicated) return undefined;
    await syncReplica(this.#clickhouse, tables, deliveryTables(tables));
    return await this.#query(condition);
  }

  #openInspector(): Promise<BufferInspector> {
    this.#inspector ??= this.#options.openInspector().catch((error: unknown) => {
      this.#inspector = undefined;
      throw error;
    });
    return this.#inspector;
  }

  /** A view that is a moment old will do where it holds the offset: ends and commits only grow. */
  async #lookAt(inspector: BufferInspector, { partition, offset }: ReceiptName): Promise<TopicView> {
    const known = this.#view;
    const isFresh = known !== undefined && performance.now() - known.at < viewAgeMs;
    if (isFresh && offset < (known.view.partitions[partition]?.end ?? 0)) return known.view;
    const at = performance.now();
    const view = await inspector.view();
    this.#view = { at, view };
    return view;
  }
}

/** The receive time, while the buffer still has the record: it leads ClickHouse to the few rows of that moment. */
async function receivedAt(inspector: BufferInspector, { partition, offset }: ReceiptName): Promise<string[]> {
  try {
    const { blocks } = await inspector.read(partition, offset, { maxBytes: 1 });
    const [block] = blocks;
    if (block === undefined || block.offsets[0] !== offset) return [];
    return [`received_at = fromUnixTimestamp64Milli(toInt64(${block.receivedAt[0]}), 'UTC')`];
  } catch (error) {
    if (error instanceof OffsetOutOfRangeError) return [];
    throw error;
  }
}
