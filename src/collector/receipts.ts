/** `GET /v1/receipts/{partition}/{offset}`: what became of an acknowledged event. */
import { messageOf } from '../errors.ts';
import type { ReceiptLookup, ReceiptName } from '../receipts/receipt-lookup.ts';
import type { FailureLog } from './failure-log.ts';
import type { ObservedSpool } from './observed-spool.ts';
import type { Problem } from './problem.ts';
import { type Answer, problemAnswer } from './reply.ts';

const digits = /^\d{1,16}$/;
/** Ids of spools are UUIDs; anything that could be one is looked up. */
const spoolId = /^(?=.*\D)[\w-]{8,64}$/;

const codes = {
  unknown: 'UNKNOWN_RECEIPT',
  unavailable: 'LOOKUP_UNAVAILABLE',
  overloaded: 'OVERLOADED',
} as const;

/** Who knows about receipts. */
export interface ReceiptSources {
  readonly receipts: ReceiptLookup;
  /** The spool of this collector: nobody else knows which offsets it has given out. */
  readonly spool?: Pick<ObservedSpool, 'id' | 'end'> | undefined;
  readonly failures: Pick<FailureLog, 'note'>;
}

/** A receipt as two segments of a path name it, and the id of the request for it. */
export interface ReceiptRequest {
  readonly place: string;
  readonly offset: string;
  readonly requestId?: string | undefined;
}

/** Answers for a receipt. Never rejects. */
export async function answerReceipt(
  { receipts, spool, failures }: ReceiptSources,
  request: ReceiptRequest,
): Promise<Answer> {
  const name = parseName(request.place, request.offset);
  const fail = (problem: Problem): Answer =>
    problemAnswer(problem, { retryAfterSeconds: 1, requestId: failures.note(problem, request) });
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
    const result = await receipts.find(name);
    if (!('detail' in result)) return { body: JSON.stringify({ ...name, ...result }) };
    const problem = { code: codes[result.state], detail: result.detail };
    return result.state === 'unknown' ? problemAnswer(problem) : fail(problem);
  } catch (error) {
    return fail({ code: 'LOOKUP_UNAVAILABLE', detail: messageOf(error) });
  }
}

function parseName(place: string, offsetText: string): ReceiptName | undefined {
  const offset = Number(offsetText);
  if (!digits.test(offsetText) || !Number.isSafeInteger(offset)) return undefined;
  const partition = Number(place);
  if (digits.test(place) && Number.isSafeInteger(partition)) return { partition, offset };
  return spoolId.test(place) ? { spool: place, offset } : undefined;
}
