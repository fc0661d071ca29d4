/** Compares what clients were told with what the tables hold: nothing missing, nothing twice, nothing made up. */
import type { TopicView } from '../../../src/buffer/buffer.ts';
import type { Ledger } from './ledger.ts';

/** Where the rows of a topic lie. */
export type Table = 'events' | 'dead_letters' | 'repeats';

/** A delivered record. */
export interface Delivered {
  readonly table: Table;
  readonly partition: number;
  readonly offset: number;
  /** Serial of the event; -1 where the table does not say. */
  readonly n: number;
}

/** What an audit found. */
export interface Finding {
  readonly sent: number;
  readonly acknowledged: number;
  /** Of the acknowledged ones, those that went into the spool of a collector first. */
  readonly spooled: number;
  readonly refused: number;
  readonly unknown: number;
  readonly rows: number;
  readonly deadLetters: number;
  readonly repeats: number;
  /** Offsets, acknowledged or in the buffer, that are in no table. */
  readonly missing: number;
  /** Offsets in more than one row, and events under more than one offset. */
  readonly duplicated: number;
  /** Events of unknown outcome that are stored. */
  readonly unknownStored: number;
  /** Everything that is wrong, the first of each kind, for a person; empty when all is well. */
  readonly faults: readonly string[];
}

/** What may differ from the plain case. */
export interface AuditOptions {
  /** Offsets that retention removed before they were delivered: from <= offset < to. */
  readonly expired?: readonly { readonly partition: number; readonly from: number; readonly to: number }[];
  /** The client sent serials more than once. */
  readonly isResent?: boolean;
}

/** The buffer when everything was delivered and nobody sent. */
export interface BufferPicture extends TopicView {
  /** Serials of its records by partition and offset; -1 for a record without one. Not compared when absent. */
  readonly records?: ReadonlyMap<number, ReadonlyMap<number, number>>;
}

const examplesOfEach = 5;

/** Compares. */
export function compare(
  ledger: Ledger,
  delivered: readonly Delivered[],
  view: BufferPicture,
  options: AuditOptions = {},
): Finding {
  const faults = new Faults();
  const byOffset = indexByOffset(delivered, faults);
  const bySerial = new Map(delivered.map((row) => [row.n, row]));
  const isExpired = (partition: number, offset: number) =>
    options.expired?.some(
      (range) => range.partition === partition && range.from <= offset && offset < range.to,
    ) === true;
  const at = (partition: number, offset: number) => byOffset.get(partition)?.get(offset);

  for (const { n, partition, offset } of ledger.acknowledged) {
    const found = at(partition, offset);
    if (found === undefined) {
      if (!isExpired(partition, offset)) faults.miss(partition, offset, `event ${n} was acknowledged at`);
    } else if (found.n !== n && found.n !== -1) {
      const elsewhere = bySerial.get(n);
      const place = elsewhere === undefined ? 'nowhere' : `at ${elsewhere.partition}:${elsewhere.offset}`;
      const what = `${partition}:${offset} holds ${found.n}, not ${n}, which is ${place}`;
      faults.add('another event at an acknowledged offset', what);
      if (elsewhere === undefined) faults.missing.add(`event ${n}`);
    }
  }
  for (const { partition, from, to } of options.expired ?? []) {
    for (let offset = from; offset < to; offset++)
      if (at(partition, offset) !== undefined)
        faults.add('counted as expired, and delivered', `${partition}:${offset}`);
  }
  for (const { partition, start, end } of view.partitions) {
    for (let offset = start; offset < end; offset++) {
      if (at(partition, offset) === undefined && !isExpired(partition, offset))
        faults.miss(partition, offset, 'in the buffer:');
    }
    for (const offset of byOffset.get(partition)?.keys() ?? [])
      if (offset >= end)
        faults.add('a row beyond the end of the buffer', `${partition}:${offset}, end ${end}`);
  }
  if (view.records !== undefined) compareRecords(ledger, delivered, view.records, faults);
  const unknownStored = checkSerials(ledger, delivered, faults, options);
  const count = (table: Table) => delivered.filter((row) => row.table === table).length;
  return {
    sent: ledger.sent,
    acknowledged: ledger.acknowledged.length + ledger.spooled.size,
    spooled: ledger.spooled.size,
    refused: ledger.refused.size,
    unknown: ledger.unknown.size,
    rows: count('events'),
    deadLetters: count('dead_letters'),
    repeats: count('repeats'),
    missing: faults.missing.size,
    duplicated: faults.duplicated,
    unknownStored,
    faults: faults.list(),
  };
}

function indexByOffset(delivered: readonly Delivered[], faults: Faults): Map<number, Map<number, Delivered>> {
  const byOffset = new Map<number, Map<number, Delivered>>();
  for (const row of delivered) {
    const partition = byOffset.get(row.partition) ?? new Map<number, Delivered>();
    byOffset.set(row.partition, partition);
    const earlier = partition.get(row.offset);
    if (earlier !== undefined)
      faults.duplicate(`offset ${row.partition}:${row.offset} in ${earlier.table} and in ${row.table}`);
    partition.set(row.offset, row);
  }
  return byOffset;
}

/** The buffer itself holds what was acknowledged, and the rows are what the buffer holds. */
function compareRecords(
  ledger: Ledger,
  delivered: readonly Delivered[],
  records: ReadonlyMap<number, ReadonlyMap<number, number>>,
  faults: Faults,
): void {
  for (const { n, partition, offset } of ledger.acknowledged) {
    const stored = records.get(partition)?.get(offset);
    if (stored !== undefined && stored !== n)
      faults.add(
        'another event in the buffer than acknowledged',
        `${partition}:${offset} holds ${stored}, not ${n}`,
      );
  }
  for (const { table, n, partition, offset } of delivered) {
    const stored = records.get(partition)?.get(offset);
    if (n !== -1 && stored !== undefined && stored !== n)
      faults.add(
        `a row of ${table} that is not its record`,
        `${partition}:${offset} is ${n}, the record ${stored}`,
      );
  }
}

/** Each serial at most once in `events` and `dead_letters` together, and none that was refused or never sent. */
function checkSerials(
  ledger: Ledger,
  delivered: readonly Delivered[],
  faults: Faults,
  { isResent = false }: AuditOptions,
): number {
  const seen = new Map<number, Delivered>();
  let unknownStored = 0;
  for (const row of delivered) {
    if (row.n === -1 || row.table === 'repeats') continue;
    const earlier = seen.get(row.n);
    if (earlier === undefined) {
      seen.set(row.n, row);
      if (ledger.unknown.has(row.n)) unknownStored++;
    } else if (!isResent && earlier.offset !== row.offset) {
      faults.duplicate(
        `event ${row.n} at ${earlier.partition}:${earlier.offset} and ${row.partition}:${row.offset}`,
      );
    }
    if (ledger.refused.has(row.n) && !isResent)
      faults.add('a refused event is stored', `${row.n} at ${row.partition}:${row.offset}`);
    if (row.n >= ledger.sent) faults.add('an event that nobody sent', `${row.n}`);
  }
  for (const n of ledger.spooled) if (!seen.has(n)) faults.missSpooled(n);
  return unknownStored;
}

/** Gathers what is wrong, with a few examples of each kind. */
class Faults {
  readonly missing = new Set<string>();
  duplicated = 0;
  readonly #examples = new Map<string, { count: number; examples: string[] }>();

  miss(partition: number, offset: number, what: string): void {
    const place = `${partition}:${offset}`;
    if (this.missing.has(place)) return;
    this.missing.add(place);
    this.add('missing from the tables', `${what} ${place}`);
  }

  missSpooled(n: number): void {
    this.missing.add(`spooled ${n}`);
    this.add('missing from the tables', `event ${n} was acknowledged into a spool`);
  }

  duplicate(what: string): void {
    this.duplicated++;
    this.add('stored twice', what);
  }

  add(kind: string, example: string): void {
    const known = this.#examples.get(kind) ?? { count: 0, examples: [] };
    this.#examples.set(kind, known);
    known.count++;
    if (known.examples.length < examplesOfEach) known.examples.push(example);
  }

  list(): string[] {
    return [...this.#examples].map(
      ([kind, { count, examples }]) => `${kind} (${count}): ${examples.join('; ')}`,
    );
  }
}

/** Reads everything that was delivered under an id of the topic. */
export async function readDelivered(clickhouse: string, topicId: string): Promise<Delivered[]> {
  const serials: Record<Table, string> = {
    events: "if(toString(data.n) = '', -1, toInt64OrZero(toString(data.n)))",
    dead_letters: `if(raw LIKE '%"n":%', toInt64OrZero(extract(raw, '"n":(\\\\d+)')), -1)`,
    repeats: '-1',
  };
  const all: Delivered[] = [];
  for (const table of ['events', 'dead_letters', 'repeats'] as const) {
    const text = await selectText(
      clickhouse,
      `SELECT partition, offset, ${serials[table]} FROM ${table} WHERE topic_id = '${topicId}' FORMAT TabSeparated`,
    );
    for (const line of text.split('\n')) {
      if (line === '') continue;
      const [partition, offset, n] = line.split('\t').map(Number) as [number, number, number];
      all.push({ table, partition, offset, n });
    }
  }
  return all;
}

/** Runs a statement and gives its result as ClickHouse wrote it. */
export async function selectText(clickhouse: string, sql: string): Promise<string> {
  const response = await fetch(clickhouse, { method: 'POST', body: sql });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

/** One line for each scenario. */
export function describeFinding(name: string, seed: number, finding: Finding): string {
  const { sent, acknowledged, spooled, refused, unknown, unknownStored, rows, deadLetters, repeats } =
    finding;
  return (
    `${name}  seed=${seed} sent=${sent} acknowledged=${acknowledged} ${spooled === 0 ? '' : `spooled=${spooled} `}refused=${refused} rows=${rows} ` +
    `dead letters=${deadLetters} repeats=${repeats} missing=${finding.missing} duplicated=${finding.duplicated} ` +
    `(unknown=${unknown}, of them stored ${unknownStored})`
  );
}
