/** What an answer means for the events of its request. */
import { addPlainReceipt, addReceipts, type GrowingReceipts } from '../verify/receipts.ts';
import type { Answer } from './answer-parser.ts';

/** Numbers of events: the three add up to those of the request. */
export interface Outcome {
  readonly accepted: number;
  readonly rejected: number;
  /** Stored or not: nobody can tell. */
  readonly unknown: number;
  /** Why the request failed; undefined when it was acknowledged. */
  readonly failure: string | undefined;
}

/**
 * Reads the answer to a request with this many events, and adds its receipts. An answer of 2xx counts only when its
 * receipts fit the request; otherwise what became of the events is unknown.
 */
export function readOutcome({ status, body }: Answer, events: number, receipts: GrowingReceipts): Outcome {
  if (status < 200 || status >= 300) return readRefusal(status, body, events);
  const plain = addPlainReceipt(receipts, body);
  if (plain === events) return { accepted: events, rejected: 0, unknown: 0, failure: undefined };
  const accepted = plain > 0 ? undefined : readAccepted(parse(body), events, receipts);
  if (accepted === undefined)
    return { accepted: 0, rejected: 0, unknown: events, failure: `${status} without fitting receipts` };
  return { accepted, rejected: events - accepted, unknown: 0, failure: undefined };
}

/** Events that an answer of any form accepts; undefined when it contradicts itself or the request. */
function readAccepted(value: unknown, events: number, receipts: GrowingReceipts): number | undefined {
  const stored = addReceipts(receipts, value);
  if (stored === undefined || typeof value !== 'object' || value === null) return undefined;
  const accepted = 'accepted' in value ? value.accepted : stored;
  const listed = 'rejected' in value && Array.isArray(value.rejected) ? value.rejected.length : 0;
  const rejected = listed + countUnlisted(value);
  return accepted === stored && stored + rejected === events ? stored : undefined;
}

/** Of many refused events a collector lists the first ones only, and counts the others. */
function countUnlisted(value: object): number {
  const more = 'rejected_more' in value ? value.rejected_more : undefined;
  const count = typeof more === 'object' && more !== null && 'count' in more ? more.count : 0;
  return typeof count === 'number' ? count : 0;
}

/** The usual form of a problem: the code is its first word that counts. */
const problemCode = /^\{"type":"urn:millrace:problem:([A-Z_]{1,40})"/;
const anyCode = /^[A-Z][A-Z0-9_]{0,39}$/;

function readRefusal(status: number, body: string, events: number): Outcome {
  const code = problemCode.exec(body)?.[1] ?? readCode(parse(body));
  const failure = code === undefined ? String(status) : `${status} ${code}`;
  return isOutcomeKnown(status, code)
    ? { accepted: 0, rejected: events, unknown: 0, failure }
    : { accepted: 0, rejected: 0, unknown: events, failure };
}

function readCode(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('code' in value)) return undefined;
  return typeof value.code === 'string' && anyCode.test(value.code) ? value.code : undefined;
}

/** A proxy that gave up waiting, and a server that broke, may have stored the events. */
function isOutcomeKnown(status: number, code: string | undefined): boolean {
  return code !== 'OUTCOME_UNKNOWN' && status !== 408 && (status < 500 || status === 503);
}

/** JSON from bytes that are in latin1; undefined when it is none. */
function parse(body: string): unknown {
  try {
    return JSON.parse(Buffer.from(body, 'latin1').toString());
  } catch {
    return undefined;
  }
}
