/** `GET /v1/receipts/{partition}/{offset}`: what became of an acknowledged event. */
import { messageOf } from '../errors.ts';
import type { LookupResult, ReceiptLookup, ReceiptName } from '../receipts/receipt-lookup.ts';
import type { ObservedSpool } from './observed-spool.ts';
import { type Answer, problemAnswer } from './reply.ts';

const digits = /^\d{1,16}$/;
/** Ids of spools are UUIDs; anything that could be one is looked up. */
const spoolId = /^(?=.*\D)[\w-]{8,64}$/;

/** Who knows about receipts. */
export interface ReceiptSources {
  readonly receipts: ReceiptLookup;
  /** The spool of this collector: nobody else knows which offsets it has given out. */
  readonly spool?: Pick<ObservedSpool, 'id' | 'end'> | undefined;
}

/** Answers for the receipt that two segments of a path name. Never rejects. */
export async function answerReceipt(
  { receipts, spool }: ReceiptSources,
  place: string,
  offset: string,
): Promise<Answer> {
  const name = parseName(place, offset);
  if (name === undefined) {
    const detail =
      'ask for /v1/receipts/{partition}/{offset}, both whole numbers, or /v1/receipts/{spool}/{offset}';
    return problemAnswer({ code: 'INVALID_RECEIPT', detail });
  }
  try {
    if ('spool' in name && name.spool === spool?.id && name.offset >= (await spool.end())) {
      const detail = `spool ${name.spool} ends before offset ${name.offset}`;
      return problemAnswer({ code: 'UNKNOWN_RECEIPT', detail });
    }
    return toAnswer(name, await receipts.find(name));
  } catch (error) {
    return problemAnswer({ code: 'LOOKUP_UNAVAILABLE', detail: messageOf(error) });
  }
}

function parseName(place: string, offsetText: string): ReceiptName | undefined {
  const offset = Number(offsetText);
  if (!digits.test(offsetText) || !Number.isSafeInteger(offset)) return undefined;
  const partition = Number(place);
  if (digits.test(place) && Number.isSafeInteger(partition)) return { partition, offset };
  return spoolId.test(place) ? { spool: place, offset } : undefined;
}

function toAnswer(name: ReceiptName, result: LookupResult): Answer {
  if (!('detail' in result)) return { body: JSON.stringify({ ...name, ...result }) };
  const codes = {
    unknown: 'UNKNOWN_RECEIPT',
    unavailable: 'LOOKUP_UNAVAILABLE',
    overloaded: 'OVERLOADED',
  } as const;
  return problemAnswer({ code: codes[result.state], detail: result.detail }, { retryAfterSeconds: 1 });
}
