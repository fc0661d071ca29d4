/** Wires one collector process. */
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { BufferWriter } from '../buffer/buffer.ts';
import type { Address } from '../config/types.ts';
import { messageOf } from '../errors.ts';
import { Counter, createRegistry, Gauge, Histogram, metricTable } from '../metrics/metrics.ts';
import { createStatusGuard } from '../process/hosts.ts';
import type { ReceiptLookup } from '../receipts/receipt-lookup.ts';
import type { EventSchema } from '../schema/schema.ts';
import { pause } from '../time.ts';
import { createTraceInstruments, type Tracer } from '../tracing/span.ts';
import { version } from '../version.ts';
import { type AppendObserver, Batcher } from './batcher.ts';
import {
  type ConnectionLimit,
  createConnectionInstruments,
  describeConnections,
  limitConnections,
} from './connection-limit.ts';
import { FailureLog } from './failure-log.ts';
import type { PostContext, PostObserver } from './handle-post.ts';
import { PathSample } from './path-sample.ts';
import { createTraceReader } from './post-trace.ts';
import type { Problem } from './problem.ts';
import { ByteBudget } from './read-body.ts';
import { answerReceipt } from './receipts.ts';
import type { Answer } from './reply.ts';
import { type HttpServerKind, listen, type Routes } from './server.ts';
import { createSpoolInstruments, describeSpool, intakeState, type ObservedSpool } from './spool.ts';

/** What a collector needs. */
interface CollectorOptions {
  readonly listen: Address;
  /** Host names under which status pages are given, beside the machine's own. */
  readonly statusHosts: readonly string[];
  readonly schema: EventSchema;
  readonly writer: BufferWriter;
  /** Says what became of acknowledged events; closed with the collector. */
  readonly receipts: ReceiptLookup;
  /** Name of the buffer, for `/status`. */
  readonly buffer: string;
  /** Where events wait while the buffer is away. Closed by the collector, as the writer is. */
  readonly spool?: ObservedSpool | undefined;
  readonly maxBodyBytes: number;
  readonly maxEventBytes: number;
  readonly maxEventDepth: number;
  /** Most keys of an event. */
  readonly maxEventKeys: number;
  readonly maxBatchEvents: number;
  readonly maxBodyValues: number;
  readonly maxCompressionRatio: number;
  readonly maxInFlightBytes: number;
  readonly maxRequests: number;
  readonly maxConnections: number;
  /** Shortest time between appends while events come fast, in ms. */
  readonly appendInterval: number;
  /** How long it goes on serving, no longer ready, before it stops, in ms. */
  readonly drainDelay: number;
  readonly httpServer: HttpServerKind;
  /** Whether each post keeps the id that it came with. */
  readonly keepRequestIds: boolean;
  /** Takes the spans of posts; closed with the collector. */
  readonly tracer?: Tracer | undefined;
  readonly log: Logger;
  /** Gives `/metrics` of all processes of this collector, when there are several. */
  readonly gatherMetrics?: () => Promise<string>;
}

/** A running collector process. */
export interface Collector {
  readonly port: number;
  /** Metrics of this process, for merging with those of others. */
  readonly metricsAsJson: () => Promise<object[]>;
  /**
   * Readiness off and the drain delay, which ends early when `hurry` aborts; then no new connections, requests in flight
   * finished, buffer flushed and closed.
   */
  stop(hurry?: AbortSignal): Promise<void>;
}

const stopping: Problem = { code: 'STOPPING', detail: 'send it to another collector, or try again' };
/** One append holds at most this; Kafka's default limit for a batch is 1 MiB. */
const appendLimits = { maxBytes: 512 * 1024, maxEvents: 10_000 };
/** When stopping: connections are closed once no request came for this long. Each answer has closed its own. */
const quietMs = 100;
/** When stopping: clients that go on sending over kept connections are cut after this time. */
const mostQuietMs = 5_000;

/** Starts a collector; it serves when the promise resolves, also while the buffer is away. */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const { schema, writer, spool, tracer, log } = options;
  const budget = new ByteBudget(options.maxInFlightBytes);
  const tally = createTally(budget, writer, log);
  const sending = { observer: tally, appendIntervalMs: options.appendInterval };
  const batcher = new Batcher(writer, appendLimits, spool?.takesEvents ? { ...sending, spool } : sending);
  const connections = limitConnections(options.maxConnections, log);
  const registry = createRegistry({
    ...tally.instruments,
    ...createSpoolInstruments(spool),
    ...createConnectionInstruments(connections),
    ...createTraceInstruments(tracer),
  });
  const failures = new FailureLog(log);
  const startedAt = performance.now();
  const intake = createIntake(options, tally);

  const posts: PostContext = {
    ...options,
    schema,
    batcher,
    budget,
    observer: tally,
    failures,
    readTrace: createTraceReader({ ...options, topic: writer.topic }),
    isStopping: () => intake.phase !== 'serving',
    retryAfterSeconds: () => retryAfterSeconds(writer, tally.drainSeconds(budget.used)),
    refusal: intake.refusal,
  };

  const status = () => describeStatus(options, { intake, tally, budget, connections, startedAt });
  const routes = {
    posts,
    status,
    livez: () => ({ body: '{"status":"ok"}' }),
    readyz: () => formatReadiness(intake.unreadiness()),
    metrics: async () => ({
      type: 'text/plain; charset=utf-8',
      body: await (options.gatherMetrics?.() ?? registry.metrics()),
    }),
    receipt: (request) => answerReceipt({ ...options, failures }, request),
  } satisfies Routes;
  const server = await listen(options.listen, routes, {
    kind: options.httpServer,
    connections,
    guard: createStatusGuard(options.listen, options.statusHosts),
    log,
  });

  return {
    port: server.port,
    metricsAsJson: () => registry.getMetricsAsJSON(),
    async stop(hurry) {
      // Not for a moment without a delay: whoever is told to connect again must not find the port still open.
      if (hurry?.aborted !== true && options.drainDelay > 0) {
        intake.phase = 'draining';
        await pause(options.drainDelay, hurry);
      }
      intake.phase = 'stopping';
      server.stopListening();
      await untilQuiet(tally);
      await batcher.drain();
      server.close();
      await spool?.close();
      await options.receipts.close();
      await writer.close();
      await tracer?.close();
    },
  };
}

/** The answer of `/status`. */
function describeStatus(
  { writer, spool, buffer }: CollectorOptions,
  parts: {
    readonly intake: Intake;
    readonly tally: ReturnType<typeof createTally>;
    readonly budget: ByteBudget;
    readonly connections: ConnectionLimit;
    readonly startedAt: number;
  },
): Answer {
  const { intake, tally, budget, connections, startedAt } = parts;
  const problem = intake.unreadiness();
  const body = {
    status: problem === undefined ? 'ok' : 'unavailable',
    live: true,
    ready: problem === undefined,
    ...(problem === undefined ? {} : { reason: problem.detail }),
    version,
    uptime_seconds: Math.round((performance.now() - startedAt) / 1_000),
    buffer: { kind: buffer, topic: writer.topic, partitions: writer.partitions, ...writer.state() },
    ...(spool === undefined ? {} : { spool: describeSpool(spool) }),
    in_flight: { requests: tally.requestsOpen, bytes: budget.used, max_bytes: budget.max },
    connections: describeConnections(connections),
    events: tally.eventCounts(),
  };
  return { status: problem === undefined ? 200 : 503, body: JSON.stringify(body) };
}

/** Whether posts are taken. */
interface Intake {
  /** A draining collector takes events; whoever asks whether it is ready should look for another one. */
  phase: 'serving' | 'draining' | 'stopping';
  /** Why no post can be taken now; undefined when it can. */
  refusal(): Problem | undefined;
  /** Why no more posts should be sent here. */
  unreadiness(): Problem | undefined;
}

function createIntake(
  { writer, spool, maxRequests }: CollectorOptions,
  tally: { readonly requestsOpen: number },
): Intake {
  const intake: Intake = {
    phase: 'serving',
    refusal() {
      if (intake.phase === 'stopping') return stopping;
      const state = intakeState(writer, spool);
      if (!state.ok) return { code: 'BUFFER_UNAVAILABLE', detail: state.detail };
      if (tally.requestsOpen <= maxRequests) return undefined;
      return {
        code: 'OVERLOADED',
        detail: `the collector is at its limit of ${maxRequests} requests in progress`,
      };
    },
    unreadiness: () => (intake.phase === 'draining' ? stopping : intake.refusal()),
  };
  return intake;
}

function formatReadiness(problem: Problem | undefined): Answer {
  if (problem === undefined) return { body: '{"status":"ok"}' };
  return { status: 503, body: JSON.stringify({ status: 'unavailable', reason: problem.detail }) };
}

/** Waits until every request is answered and none came for a while, so that no connection is cut in mid-request. */
async function untilQuiet(tally: {
  readonly requestsOpen: number;
  readonly answered: number;
}): Promise<void> {
  const deadline = performance.now() + mostQuietMs;
  for (;;) {
    const before = tally.answered;
    await setTimeout(quietMs);
    if (tally.requestsOpen === 0 && (tally.answered === before || performance.now() > deadline)) return;
  }
}

/** Seconds until trying again makes sense: the real queue when the buffer works, a guess when it is away. */
function retryAfterSeconds(writer: BufferWriter, drainSeconds: number): number {
  const wait = writer.state().ok ? Math.ceil(drainSeconds) : 5;
  return Math.min(Math.max(wait, 1), 30);
}

/** Counts everything that happens in the process: the observer of posts and of appends, and its instruments. */
function createTally(budget: ByteBudget, writer: BufferWriter, log: Logger) {
  const requests = new Counter(metricTable.requests);
  const requestDuration = new Histogram(metricTable.requestDuration);
  const accepted = new Counter(metricTable.accepted);
  const rejectedCount = new Counter(metricTable.rejected);
  const paths = new PathSample();
  const failed = new Counter(metricTable.failed);
  const appendDuration = new Histogram(metricTable.appendDuration);
  const appendEvents = new Histogram(metricTable.appendEvents);
  const appendErrors = new Counter(metricTable.appendErrors);
  let requestsOpen = 0;
  /** Milliseconds that an append takes, smoothed. */
  let appendMs = 5;

  const observer: PostObserver & AppendObserver = {
    opened: () => {
      requestsOpen++;
    },
    closed: (status) => {
      requestsOpen--;
      requests.add(1, statusLabels[status] ?? String(status));
    },
    stored: (events, milliseconds) => {
      accepted.add(events);
      requestDuration.observe(milliseconds / 1_000);
    },
    rejected: (code, events) => rejectedCount.add(events, code),
    admitted: (value) => paths.add(value),
    appended: (events, milliseconds) => {
      appendMs += (milliseconds - appendMs) / 16;
      appendDuration.observe(milliseconds / 1_000);
      appendEvents.observe(events);
    },
    diverted: () => appendErrors.add(1),
    appendFailed: (events, error) => {
      failed.add(events);
      appendErrors.add(1);
      log.error({ err: error, events }, `${events} events were not stored: ${messageOf(error)}`);
    },
  };
  return {
    ...observer,
    eventCounts: () => ({ accepted: accepted.total, rejected: rejectedCount.total, failed: failed.total }),
    get requestsOpen() {
      return requestsOpen;
    },
    get answered() {
      return requests.total;
    },
    /** How long the bytes held now take to be stored. */
    drainSeconds: (bytes: number) =>
      ((bytes / appendLimits.maxBytes / Math.max(writer.partitions, 1)) * appendMs) / 1_000,
    instruments: {
      requests,
      requestDuration,
      accepted,
      rejected: rejectedCount,
      paths: new Gauge(metricTable.paths, () => paths.size()),
      failed,
      appendDuration,
      appendEvents,
      appendErrors,
      inFlightBytes: new Gauge(metricTable.inFlightBytes, () => budget.used),
      requestsInFlight: new Gauge(metricTable.requestsInFlight, () => requestsOpen),
      bufferUp: new Gauge(metricTable.bufferUp, () => (writer.state().ok ? 1 : 0)),
    },
  };
}

/** Labels of the common statuses, so that counting one makes no string. */
const statusLabels: Readonly<Record<number, string>> = {
  200: '200',
  400: '400',
  413: '413',
  422: '422',
  503: '503',
};
