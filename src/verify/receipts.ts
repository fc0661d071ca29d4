/**
 * What answers of the collector say about where events are.
 *
 * Reads a client's own list of what the collector acknowledged.
 */
import { z } from 'zod';
import { exitCodes, OperatorError } from '../errors.ts';
import { RangeSet } from './ranges.ts';

/** Receipts, by where they say that the events are. */
export interface Receipts {
  /** Offsets by partition. */
  readonly partitions: ReadonlyMap<number, RangeSet>;
  /** Offsets by the id of the spool that took the events while the buffer was away. */
  readonly spools: ReadonlyMap<string, RangeSet>;
}

/** Receipts that are being collected. */
export interface GrowingReceipts extends Receipts {
  readonly partitions: Map<number, RangeSet>;
  readonly spools: Map<string, RangeSet>;
}

/** No receipts yet. */
export function createReceipts(): GrowingReceipts {
  return { partitions: new Map(), spools: new Map() };
}

const offset = z.int().min(0);
const count = z.int().min(1).default(1);
const spool = z.string().min(1).max(200);
const partition = z.int().min(0);
/** `Offset` is what `POST /post` says for a single event. */
const receipt = z.union([
  z.object({ partition, offset, count }),
  z.object({ partition, Offset: offset, count }),
  z.object({ spool, offset, count }),
  z.object({ spool, Offset: offset, count }),
]);
const answer = z.union([z.object({ receipts: z.array(receipt) }), receipt]);

/**
 * Adds what a receipt, or an answer that holds some, says.
 * @returns the number of events; undefined when the value is neither
 */
export function addReceipts(receipts: GrowingReceipts, value: unknown): number | undefined {
  const parsed = answer.safeParse(value);
  if (!parsed.success) return undefined;
  let events = 0;
  for (const one of 'receipts' in parsed.data ? parsed.data.receipts : [parsed.data]) {
    const first = 'Offset' in one ? one.Offset : one.offset;
    if ('spool' in one) setOf(receipts.spools, one.spool).add(first, first + one.count);
    else setOf(receipts.partitions, one.partition).add(first, first + one.count);
    events += one.count;
  }
  return events;
}

/** Nearly every receipt is one of these: not worth an object, let alone a schema. */
const plain =
  /^\{(?:"status":"ok",)?"partition":(\d{1,9}),"[oO]ffset":(\d{1,15})(?:,"count":([1-9]\d{0,8}))?\}\r?$/;
const plainBatch =
  /^\{"status":"ok","accepted":([1-9]\d{0,8}),"rejected":\[\],"receipts":\[\{"partition":(\d{1,9}),"offset":(\d{1,15}),"count":\1\}\]\}\r?$/;

/**
 * Adds what a text says that is in the usual form: one receipt, or the answer to a batch that lies in one piece.
 * @returns the number of events; 0 when the text has another form and nothing was added
 */
export function addPlainReceipt({ partitions }: GrowingReceipts, text: string): number {
  const single = plain.exec(text);
  const batch = single === null ? plainBatch.exec(text) : null;
  const partition = single?.[1] ?? batch?.[2];
  if (partition === undefined) return 0;
  const first = Number(single?.[2] ?? batch?.[3]);
  const events = Number(single === null ? batch?.[1] : (single[3] ?? 1));
  setOf(partitions, Number(partition)).add(first, first + events);
  return events;
}

function setOf<K>(sets: Map<K, RangeSet>, key: K): RangeSet {
  let set = sets.get(key);
  if (set === undefined) {
    set = new RangeSet();
    sets.set(key, set);
  }
  return set;
}

const lineFeed = 0x0a;
const maxLineBytes = 64 * 1024 * 1024;

/**
 * Reads NDJSON: each line a receipt, or a whole answer of the collector. Blank lines are skipped.
 * @throws OperatorError exit 2 that names the line which is neither
 */
export async function readReceipts(chunks: AsyncIterable<Buffer>, name: string): Promise<Receipts> {
  const receipts = createReceipts();
  let number = 0;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(lineFeed); end !== -1; end = bytes.indexOf(lineFeed, start)) {
      addLine(receipts, bytes.toString('utf8', start, end), { name, number: ++number });
      start = end + 1;
    }
    rest = bytes.subarray(start);
    if (rest.length > maxLineBytes) throw badLine({ name, number: number + 1 }, 'it is too long');
  }
  addLine(receipts, rest.toString(), { name, number: number + 1 });
  return receipts;
}

/** Where a line is, for messages. */
interface Place {
  readonly name: string;
  readonly number: number;
}

function addLine(receipts: GrowingReceipts, text: string, place: Place): void {
  if (addPlainReceipt(receipts, text) > 0 || text.trim() === '') return;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badLine(place, 'it is not JSON');
  }
  if (addReceipts(receipts, value) === undefined) {
    throw badLine(
      place,
      'it is neither a receipt, such as {"partition":0,"offset":17}, nor an answer with receipts',
    );
  }
}

function badLine({ name, number }: Place, problem: string): OperatorError {
  return new OperatorError(`line ${number} of ${name} is not a receipt: ${problem}`, exitCodes.usage);
}
