/**
 * `GET /v1/receipts/{partition}/{offset}`: what became of an acknowledged event. Offsets can be guessed and names of spools
 * made up, so an answer holds nothing of the event, and what it costs does not depend on how much is stored.
 */
import { messageOf } from '../errors.ts';
import type { ReceiptLookup, ReceiptName } from '../receipts/receipt-lookup.ts';
import type { FailureLog } from './failure-log.ts';
import type { Problem } from './problem.ts';
import { type Answer, problemAnswer } from './reply.ts';
import type { ObservedSpool } from './spool.ts';

const digits = /^\d{1,16}$/;
/** Ids of spools are those of their logs: UUIDs. */
const spoolId = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

const codes = {
  unknown: 'UNKNOWN_RECEIPT',
  unavailable: 'LOOKUP_UNAVAILABLE',
  overloaded: 'OVERLOADED',
} as const;

/** Who knows about receipts. */
interface ReceiptSources {
  readonly receipts: ReceiptLookup;
  /** The spool of this collector: nobody else knows which offsets it has given out. */
  readonly spool?: Pick<ObservedSpool, 'id' | 'waiting'> | undefined;
  readonly failures: Pick<FailureLog, 'note'>;
}

/** A receipt as two segments of a path name it, and the id of the request for it. */
export interface ReceiptRequest {
  readonly place: string;
  readonly offset: string;
  readonly requestId?: string | undefined;
}

/** A receipt of an event that went to a spool. */
interface SpooledName {
  readonly spool: string;
  readonly offset: number;
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
    if ('spool' in name) return answerSpooled(name, spool);
    const result = await receipts.find(name);
    if (!('detail' in result)) return { body: JSON.stringify({ ...name, ...result }) };
    const problem = { code: codes[result.state], detail: result.detail };
    return result.state === 'unknown' ? problemAnswer(problem) : fail(problem);
  } catch (error) {
    return fail({ code: 'LOOKUP_UNAVAILABLE', detail: messageOf(error) });
  }
}

/**
 * Asks the spool alone: where a spooled event lies in the end is known by column `event_id` only, which no index helps to
 * find.
 */
function answerSpooled(name: SpooledName, spool: ReceiptSources['spool']): Answer {
  const unknown = (detail: string) => problemAnswer({ code: 'UNKNOWN_RECEIPT', detail });
  if (name.spool !== spool?.id) {
    return unknown('this collector has no spool with that name; ask the collector that gave the receipt');
  }
  const { from, end } = spool.waiting();
  if (name.offset >= end) return unknown(`spool ${name.spool} ends before offset ${name.offset}`);
  return { body: JSON.stringify({ ...name, state: name.offset < from ? 'accepted' : 'spooled' }) };
}

function parseName(place: string, offsetText: string): ReceiptName | SpooledName | undefined {
  const offset = Number(offsetText);
  if (!digits.test(offsetText) || !Number.isSafeInteger(offset)) return undefined;
  const partition = Number(place);
  if (digits.test(place) && Number.isSafeInteger(partition)) return { partition, offset };
  return spoolId.test(place) ? { spool: place, offset } : undefined;
}
