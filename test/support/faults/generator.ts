/** Load: posts of seeded shapes at a planned rate over several connections, and what became of each event. */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { Ledger } from './ledger.ts';
import type { Random } from './random.ts';

/** What to send. */
export interface LoadOptions {
  /** Collectors; connections are spread over them. */
  readonly urls: readonly string[];
  /** Events a second. */
  readonly rate: number;
  /** Connections, each with one request in flight. Default 8. */
  readonly connections?: number;
  readonly random: Random;
  readonly ledger: Ledger;
  /** Makes the event with serial `n` as JSON; a small one of random size by default. */
  readonly makeEvent?: (n: number) => string;
  /** Most events of one request. Default 20. */
  readonly maxBatch?: number;
}

/** A running load. */
export interface Load {
  /** Stops sending and waits for the last answers. */
  stop(): Promise<void>;
}

/** After a pause the load catches up with its plan by at most this much. */
const mostDebtMs = 1_000;
/** A request without an answer for this long is given up: nobody knows what became of it. */
const answerTimeoutMs = 30_000;

/** Starts it. */
export function startLoad(options: LoadOptions): Load {
  const { urls, rate, connections = 8, random, maxBatch = 20 } = options;
  const makeEvent = options.makeEvent ?? ((n: number) => plainEvent(n, random));
  const stopping = new AbortController();
  // Each connection waits on it.
  setMaxListeners(0, stopping.signal);
  const pools = urls.map((url) => createPool(url));
  /** When the next event is due. */
  let dueAt = performance.now();

  async function sendAll(pool: Pool): Promise<void> {
    while (!stopping.signal.aborted) {
      const count = random.chance(0.5) ? 1 : random.integer(2, maxBatch);
      const now = performance.now();
      dueAt = Math.max(dueAt, now - mostDebtMs) + (count / rate) * 1_000;
      if (dueAt > now) await sleep(dueAt - now, undefined, { signal: stopping.signal }).catch(() => {});
      if (!stopping.signal.aborted) await postOnce(pool, { ...options, makeEvent, count });
    }
  }

  const running = Array.from({ length: connections }, (_, i) => sendAll(pools[i % pools.length] as Pool));
  return {
    async stop() {
      stopping.abort();
      await Promise.all(running);
      for (const pool of pools) await pool.destroy();
    },
  };
}

/** Sends for a while. */
export async function loadFor(ms: number, options: LoadOptions): Promise<void> {
  const load = startLoad(options);
  await sleep(ms);
  await load.stop();
}

/** Sends one request and notes what became of it. */
export async function postEvents(
  url: string,
  events: readonly [number, string][],
  ledger = new Ledger(),
): Promise<void> {
  const pool = createPool(url);
  await send(pool, events, { ledger, isArray: true });
  await pool.destroy();
}

function createPool(url: string): Pool {
  return new Pool(url, {
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
    connectTimeout: 2_000,
  });
}

async function postOnce(
  pool: Pool,
  { ledger, random, makeEvent, count }: LoadOptions & { makeEvent: (n: number) => string; count: number },
): Promise<void> {
  const events = ledger.takeSerials(count).map((n): [number, string] => [n, makeEvent(n)]);
  await send(pool, events, { ledger, isArray: random.chance(0.5) });
}

async function send(
  pool: Pool,
  events: readonly [number, string][],
  { ledger, isArray }: { ledger: Ledger; isArray: boolean },
): Promise<void> {
  const serials = events.map(([n]) => n);
  const texts = events.map(([, text]) => text);
  const isJson = isArray || texts.length === 1;
  const body = texts.length === 1 ? (texts[0] ?? '') : isArray ? `[${texts.join(',')}]` : texts.join('\n');
  const headers = { 'content-type': isJson ? 'application/json' : 'application/x-ndjson' };
  const answer = await request(pool, body, headers);
  if (typeof answer !== 'string') {
    note(ledger, serials, answer);
    return;
  }
  // Nobody listened, so nobody has read a byte of it.
  const isUnsent = answer === 'ECONNREFUSED' || answer === 'UND_ERR_CONNECT_TIMEOUT';
  if (isUnsent) ledger.refuse(serials, answer);
  else ledger.doubt(serials, answer);
}

/** An answer as it came. */
interface RawAnswer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: unknown;
}

/** Posts; gives the code of the error when there was no complete answer. */
async function request(
  pool: Pool,
  body: string,
  headers: Record<string, string>,
): Promise<RawAnswer | string> {
  try {
    const response = await pool.request({ path: '/v1/events', method: 'POST', headers, body });
    const text = await response.body.text();
    return { status: response.statusCode, text, retryAfter: response.headers['retry-after'] };
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** Where events are: in the buffer, or for now in the spool of a collector. */
interface Receipt {
  readonly partition?: number | undefined;
  readonly spool?: string | undefined;
  readonly offset: number;
  readonly count: number;
}

/** The part of an answer that is used. */
interface Answer {
  readonly code?: string;
  readonly partition?: number;
  readonly offset?: number;
  readonly rejected?: readonly { readonly index: number; readonly code: string }[];
  readonly receipts?: readonly Receipt[];
  readonly spool?: string;
}

function note(ledger: Ledger, serials: readonly number[], { status, text, retryAfter }: RawAnswer): void {
  const answer = JSON.parse(text) as Answer;
  const rejected = new Map((answer.rejected ?? []).map(({ index, code }) => [index, code]));
  const accepted = serials.filter((_, index) => !rejected.has(index));
  if (status === 503 && retryAfter === undefined && answer.code !== 'BUFFER_REFUSED')
    throw new Error(`a 503 ${answer.code} without Retry-After`);
  if (status !== 200 && status !== 202) {
    if (answer.code === 'OUTCOME_UNKNOWN') ledger.doubt(serials, answer.code);
    else ledger.refuse(serials, answer.code ?? String(status));
    return;
  }
  ledger.keepAnswer(text);
  for (const [index, code] of rejected) {
    const n = serials[index] as number;
    if (code === 'OUTCOME_UNKNOWN') ledger.doubt([n], code);
    else ledger.refuse([n], code);
  }
  const { partition, spool, offset = -1 } = answer;
  let next = 0;
  for (const receipt of answer.receipts ?? [{ partition, spool, offset, count: 1 }]) {
    for (let i = 0; i < receipt.count; i++) {
      const n = accepted[next++] as number;
      if (receipt.partition === undefined) ledger.acknowledgeSpooled(n);
      else ledger.acknowledge(n, receipt.partition, receipt.offset + i);
    }
  }
  if (next !== accepted.length) throw new Error(`${next} receipts for ${accepted.length} events: ${text}`);
}

/** An event as most are, of random size. */
export function plainEvent(n: number, random: Random): string {
  const title = 'x'.repeat(random.integer(0, 200));
  return `{"event":"${random.pick(['view', 'click', 'signup'])}","n":${n},"title":"${title}","status":${random.integer(200, 599)}}`;
}
