/** Reads a client's own list of what the collector acknowledged. */
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

const offset = z.int().min(0);
const count = z.int().min(1).default(1);
const receipt = z.union([
  z.object({ spool: z.string().min(1).max(200), offset, count }),
  z.object({ partition: z.int().min(0), offset, count }),
  z.object({ partition: z.int().min(0), Offset: offset, count }),
]);
const line = z.union([z.object({ receipts: z.array(receipt) }), receipt]);

const lineFeed = 0x0a;
const maxLineBytes = 64 * 1024 * 1024;

/**
 * Reads NDJSON: each line a receipt, or a whole answer of the collector. Blank lines are skipped.
 * @throws OperatorError exit 2 that names the line which is neither
 */
export async function readReceipts(chunks: AsyncIterable<Buffer>, name: string): Promise<Receipts> {
  const receipts = { partitions: new Map<number, RangeSet>(), spools: new Map<string, RangeSet>() };
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

type Growing = { partitions: Map<number, RangeSet>; spools: Map<string, RangeSet> };

function addLine(receipts: Growing, text: string, place: Place): void {
  if (addPlain(receipts, text) || text.trim() === '') return;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badLine(place, 'it is not JSON');
  }
  const parsed = line.safeParse(value);
  if (!parsed.success) {
    throw badLine(
      place,
      'it is neither a receipt, as {"partition":0,"offset":17}, nor an answer with receipts',
    );
  }
  for (const one of 'receipts' in parsed.data ? parsed.data.receipts : [parsed.data]) {
    const first = 'Offset' in one ? one.Offset : one.offset;
    if ('spool' in one) setOf(receipts.spools, one.spool).add(first, first + one.count);
    else setOf(receipts.partitions, one.partition).add(first, first + one.count);
  }
}

/** Nearly every line of a long file: not worth an object, let alone a schema. */
const plain =
  /^\{(?:"status":"ok",)?"partition":(\d{1,9}),"[oO]ffset":(\d{1,15})(?:,"count":([1-9]\d{0,8}))?\}\r?$/;

function addPlain({ partitions }: Growing, text: string): boolean {
  const match = plain.exec(text);
  if (match === null) return false;
  const first = Number(match[2]);
  setOf(partitions, Number(match[1])).add(first, first + Number(match[3] ?? 1));
  return true;
}

function setOf<K>(sets: Map<K, RangeSet>, key: K): RangeSet {
  let set = sets.get(key);
  if (set === undefined) {
    set = new RangeSet();
    sets.set(key, set);
  }
  return set;
}

function badLine({ name, number }: Place, problem: string): OperatorError {
  return new OperatorError(`line ${number} of ${name} is no receipt: ${problem}`, exitCodes.usage);
}
