/** One post, from its headers to its answer. */
import { BufferUnavailableError, OutcomeUnknownError, RecordsRefusedError } from '../buffer/buffer.ts';
import { idHeader, type RecordHeaders } from '../buffer/records.ts';
import { messageOf } from '../errors.ts';
import { type EventLimits, validateEvent } from './admission.ts';
import type { Batcher } from './batcher.ts';
import { type FailureLog, readRequestId } from './failure-log.ts';
import type { HttpRequest, HttpResponse } from './http-app.ts';
import type { EventRun, Waiter } from './open-batch.ts';
import {
  type BodyType,
  type ParseLimits,
  type PostedEvent,
  type PostedEvents,
  parseEvents,
} from './parse-events.ts';
import { batchId, type HeaderLimits, ownId, type PostHeaders, readPostHeaders } from './post-headers.ts';
import type { PostTrace, TraceReader } from './post-trace.ts';
import { overloaded, type Problem, problems, type Rejection } from './problem.ts';
import { type BodyLimits, BodyReader, type BodyReceiver } from './read-body.ts';
import {
  type Answer,
  formatBatchResult,
  formatSingleResult,
  type OffsetName,
  problemAnswer,
  type Receipt,
  replyToPost,
} from './reply.ts';

/** Bytes that an id takes beside its characters until its event is stored, as measured: one of the event's own. */
const ownIdBytes = 150;
/** The same for one made from the key of the request, whose text is its own too. */
const madeIdBytes = 200;
/** The same for the trace context of an event: its entry, and its text once it is encoded. */
const tracedBytes = 200;

/** What handling a post needs. */
export interface PostContext extends EventLimits, HeaderLimits, BodyLimits, ParseLimits {
  readonly batcher: Batcher;
  readonly observer: PostObserver;
  readonly failures: Pick<FailureLog, 'note'>;
  /** Undefined when neither traces nor request ids are wanted. */
  readonly readTrace?: TraceReader | undefined;
  /** Why no post can be taken now; undefined when it can. */
  refusal(): Problem | undefined;
  /** Seconds after which a client that got a 503 should try again. */
  retryAfterSeconds(): number;
  /** Whether connections close after their answers: the collector is stopping. */
  isStopping(): boolean;
}

/** Told how posts end. */
export interface PostObserver {
  opened(): void;
  /** The answer was written, or the client was gone by then (`status` 499). */
  closed(status: number): void;
  stored(events: number, milliseconds: number): void;
  rejected(code: string, events: number): void;
  /** An event is valid. */
  admitted(value: unknown): void;
}

/** Handles `POST /post` and `POST /v1/events`, which differ in `offsetName` only. */
export function handlePost(
  res: HttpResponse,
  req: HttpRequest,
  context: PostContext,
  offsetName: OffsetName,
): void {
  const post = new Post(res, context, offsetName);
  if (context.readTrace !== undefined) post.follow(context.readTrace(req));
  const headers = context.refusal() ?? readPostHeaders(req, context);
  if ('code' in headers) post.refuse(headers, { isUnread: true, req });
  else post.read(headers);
}

/** A post in progress; the batcher tells it when its events are stored. */
class Post implements Waiter, BodyReceiver {
  readonly #res: HttpResponse;
  readonly #context: PostContext;
  readonly #offsetName: OffsetName;
  readonly #receivedAt = Date.now();
  #isAborted = false;
  #isFinished = false;
  #isSingle = false;
  #type: BodyType = 'json';
  /** Idempotency-Key; empty when there is none. */
  #key = '';
  #isSpooled = false;
  /** Undefined for most posts, and for all of them by default. */
  #trace: PostTrace | undefined;
  #problem: Problem | undefined;
  /** Bytes taken from the budget. */
  #held = 0;
  /** Events given to the batcher and not settled yet. */
  #pending = 0;
  #accepted = 0;
  #failure: unknown;
  readonly #stored: (Receipt & EventRun)[] = [];
  readonly #rejected: Rejection[] = [];
  /** Position in the request of the events added, where it is not simply 0, 1, 2... */
  #indexes: number[] | undefined;
  added = 0;

  constructor(res: HttpResponse, context: PostContext, offsetName: OffsetName) {
    this.#res = res;
    this.#context = context;
    this.#offsetName = offsetName;
    context.observer.opened();
  }

  follow(trace: PostTrace | undefined): void {
    this.#trace = trace;
  }

  read({ type, encoding, key }: PostHeaders): void {
    this.#key = key;
    this.#type = type;
    const body = new BodyReader(this.#context, encoding, this);
    body.start(this.#res);
    this.#res.onAborted(() => {
      this.#isAborted = true;
      body.abandon();
      // Events that were given to the batcher stay: only their answer is lost.
      if (this.#pending === 0) this.#finish(499);
    });
  }

  received(body: Buffer, held: number): void {
    this.#held = held;
    this.#take(parseEvents(body, this.#type, this.#context));
  }

  refused(problem: Problem): void {
    this.refuse(problem, { isUnread: problem.code === 'BODY_TOO_LARGE' });
  }

  /**
   * Answers with a problem. `isUnread` closes the connection, since the rest of the body is not wanted; `req` is
   * given while its headers can still be read.
   */
  refuse(problem: Problem, { isUnread = false, req }: { isUnread?: boolean; req?: HttpRequest } = {}): void {
    if (problem.code !== 'OVERLOADED') this.#context.observer.rejected(problem.code, 1);
    this.#answerProblem(problem, isUnread, req);
  }

  stored(partition: number, offset: number, { first, count }: EventRun): void {
    this.#accepted += count;
    this.#stored.push({ partition, offset, count, first });
    this.#settle(count);
  }

  spooled(spool: string, offset: number, { first, count }: EventRun): void {
    this.#isSpooled = true;
    this.#accepted += count;
    this.#stored.push({ spool, offset, count, first });
    this.#settle(count);
  }

  failed(error: unknown, { first, count }: EventRun): void {
    // Of several failures the one that leaves something open is told.
    if (this.#failure === undefined || error instanceof OutcomeUnknownError) this.#failure = error;
    const { code, detail } = describeFailure(error);
    for (let i = first; i < first + count; i++) {
      this.#rejected.push({ index: this.#indexes?.[i] ?? i, code, detail });
    }
    this.#settle(count);
  }

  #take(posted: PostedEvents | Problem): void {
    if ('code' in posted) {
      this.refuse(posted);
      return;
    }
    const { budget } = this.#context;
    const headerBytes = this.#headerBytes(posted.events);
    if (!budget.tryTake(headerBytes)) {
      this.refuse(overloaded(budget.max));
      return;
    }
    this.#held += headerBytes;
    this.#isSingle = posted.isSingle;
    for (const rejection of posted.rejected) this.#rejected.push(rejection);
    for (const event of posted.events) {
      const problem = validateEvent(event, this.#context);
      if (problem === undefined) {
        this.#pending++;
        if (event.index !== this.added) this.#indexes ??= Array.from({ length: this.added }, (_, i) => i);
        this.#indexes?.push(event.index);
        this.#context.observer.admitted(event.value);
        this.#context.batcher.add(event.bytes, this.#receivedAt, this, this.#headersOf(event));
      } else if (posted.isSingle) {
        this.refuse(problem);
        return;
      } else {
        this.#rejected.push({ index: event.index, ...problem });
      }
    }
    for (const { code } of this.#rejected) this.#context.observer.rejected(code, 1);
    if (this.#pending === 0) this.#answerNoneAccepted();
  }

  /** An event without an id, which is the most common, costs no header unless it is traced. */
  #headersOf(event: PostedEvent): RecordHeaders | undefined {
    const id = this.#idOf(event);
    const traced = this.#trace?.span?.headers;
    if (id === undefined) return traced;
    return traced === undefined ? [[idHeader, id]] : [[idHeader, id], ...traced];
  }

  #idOf({ value, index }: PostedEvent): string | undefined {
    const own = this.#context.schema.hasId ? ownId(value) : undefined;
    if (own !== undefined || this.#key === '') return own;
    return this.#isSingle ? this.#key : batchId(this.#key, index);
  }

  /** Bytes of memory that the headers of these events take, about: small events may take less than their ids. */
  #headerBytes(events: readonly PostedEvent[]): number {
    const { hasId } = this.#context.schema;
    const traced = this.#trace?.span === undefined ? 0 : tracedBytes * events.length;
    const made = this.#key === '' ? 0 : this.#key.length + madeIdBytes;
    if (!hasId) return traced + made * events.length;
    let bytes = traced;
    for (const { value } of events) {
      const own = ownId(value);
      bytes += own === undefined ? made : own.length + ownIdBytes;
    }
    return bytes;
  }

  #answerNoneAccepted(): void {
    const rejected = this.#sortedRejections();
    const problem: Problem = {
      code: rejected[0]?.code === 'INVALID_JSON' ? 'INVALID_JSON' : 'INVALID_EVENT',
      detail: `none of the ${rejected.length} events was accepted; 'rejected' lists the reasons`,
    };
    this.#problem = problem;
    this.#answer(problemAnswer(problem, { rejected }));
  }

  #settle(count: number): void {
    this.#pending -= count;
    if (this.#pending > 0) return;
    if (this.#accepted > 0) this.#context.observer.stored(this.#accepted, Date.now() - this.#receivedAt);
    if (this.#isAborted) this.#finish(499);
    else if (this.#accepted === 0) this.#answerProblem(describeFailure(this.#failure));
    else this.#answer({ status: this.#isSpooled ? 202 : 200, body: this.#formatStored() });
  }

  /** Events of which some were not stored are named one by one: what was stored must not be sent again. */
  #formatStored(): string {
    if (!this.#isSingle) {
      const receipts = this.#stored.sort((a, b) => a.first - b.first);
      return formatBatchResult(this.#accepted, this.#sortedRejections(), receipts);
    }
    return formatSingleResult(this.#stored[0] as Receipt, this.#offsetName);
  }

  /** What failed for a reason that an operator would look up has a line in the log, under the same id. */
  #answerProblem(problem: Problem, isUnread = false, req?: HttpRequest): void {
    this.#problem = problem;
    const { status, retry } = problems[problem.code];
    const retryAfterSeconds = retry ? this.#context.retryAfterSeconds() : undefined;
    const requestId = status >= 500 ? this.#note(problem, req) : undefined;
    this.#answer(problemAnswer(problem, { retryAfterSeconds, requestId }), isUnread);
  }

  #note(problem: Problem, req: HttpRequest | undefined): string | undefined {
    const requestId = this.#trace?.requestId ?? (req && readRequestId(req));
    return this.#context.failures.note(problem, { requestId, traceId: this.#trace?.span?.traceId });
  }

  #sortedRejections(): Rejection[] {
    return this.#rejected.sort((a, b) => a.index - b.index);
  }

  #answer(answer: Answer, closes = false): void {
    if (!this.#isAborted) {
      const isLast = closes || this.#context.isStopping();
      replyToPost(this.#res, isLast ? { ...answer, isLast } : answer);
    }
    this.#finish(this.#isAborted ? 499 : (answer.status ?? 200));
  }

  #finish(status: number): void {
    // A connection may also break while the answer is on its way: the post is counted once.
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#context.budget.give(this.#held);
    this.#held = 0;
    this.#context.observer.closed(status);
    const span = this.#trace?.span;
    if (span !== undefined) span.end({ status, events: this.#accepted, code: this.#problem?.code });
  }
}

function describeFailure(error: unknown): Problem {
  if (error instanceof RecordsRefusedError) return { code: 'BUFFER_REFUSED', detail: messageOf(error) };
  const isRefusal = error instanceof BufferUnavailableError && !(error instanceof OutcomeUnknownError);
  const code = isRefusal ? 'BUFFER_UNAVAILABLE' : 'OUTCOME_UNKNOWN';
  return { code, detail: messageOf(error) };
}
