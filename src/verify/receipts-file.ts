/** Reads a client's own list of what the collector acknowledged. */
import { exitCodes, OperatorError } from '../errors.ts';
import {
  addPlainReceipt,
  addReceipts,
  createReceipts,
  type GrowingReceipts,
  type Receipts,
} from './receipts.ts';

export type { Receipts } from './receipts.ts';

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
      'it is neither a receipt, as {"partition":0,"offset":17}, nor an answer with receipts',
    );
  }
}

function badLine({ name, number }: Place, problem: string): OperatorError {
  return new OperatorError(`line ${number} of ${name} is no receipt: ${problem}`, exitCodes.usage);
}
