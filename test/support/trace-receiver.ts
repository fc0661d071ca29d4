/** A receiver of traces: takes OTLP over HTTP in JSON, and complains about what is none. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as it was received. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status?: { readonly code: number };
  /** `service.name` of its resource. */
  readonly service: string;
}

/** A running receiver. */
export interface TraceReceiver {
  readonly url: string;
  readonly spans: ReceivedSpan[];
  readonly requests: { readonly path: string; readonly contentType: string }[];
  /** What is wrong with what came. */
  readonly faults: string[];
  /** Answers with these statuses first, one for each request. */
  readonly statuses: number[];
  close(): Promise<void>;
}

interface Body {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: ReceivedSpan['attributes'] };
    readonly scopeSpans: readonly { readonly spans: readonly Omit<ReceivedSpan, 'service'>[] }[];
  }[];
}

/** Starts a receiver on a free port of loopback. */
export async function startTraceReceiver(): Promise<TraceReceiver> {
  const received: Omit<TraceReceiver, 'url' | 'close'> = {
    spans: [],
    requests: [],
    faults: [],
    statuses: [],
  };
  const server = createServer((req, res) => {
    const pieces: Buffer[] = [];
    req.on('data', (piece: Buffer) => pieces.push(piece));
    req.once('end', () => {
      received.requests.push({ path: req.url ?? '', contentType: req.headers['content-type'] ?? '' });
      const status = received.statuses.shift() ?? 200;
      if (status === 200) take(JSON.parse(Buffer.concat(pieces).toString()) as Body, received);
      res.writeHead(status, { 'content-type': 'application/json' }).end('{"partialSuccess":{}}');
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    ...received,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function take({ resourceSpans }: Body, { spans, faults }: Pick<TraceReceiver, 'spans' | 'faults'>): void {
  for (const { resource, scopeSpans } of resourceSpans) {
    const name = resource.attributes.find(({ key }) => key === 'service.name');
    for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
      faults.push(...faultsOf(span).map((fault) => `${span.name}: ${fault}`));
      spans.push({ ...span, service: String(name?.value.stringValue) });
    }
  }
}

const typeOf = (type: string) => (type === 'boolValue' ? 'boolean' : 'string');

function faultsOf(span: Omit<ReceivedSpan, 'service'>): string[] {
  const contexts = [span, ...(span.links ?? [])];
  const values = span.attributes.flatMap(({ value }) => Object.entries(value));
  const checks: readonly (readonly [boolean, string])[] = [
    [contexts.every(({ traceId }) => /^[\da-f]{32}$/.test(traceId)), 'trace ids are 32 hexadecimal digits'],
    [contexts.every(({ spanId }) => /^[\da-f]{16}$/.test(spanId)), 'span ids are 16 hexadecimal digits'],
    [/^\d{19}$/.test(span.startTimeUnixNano), 'times are nanoseconds as text'],
    [BigInt(span.startTimeUnixNano) <= BigInt(span.endTimeUnixNano), 'it ends after it began'],
    [span.kind === 4 || span.kind === 5, 'it is a producer or a consumer'],
    [
      values.every(([type, value]) =>
        type === 'doubleValue' ? typeof value === 'number' : typeof value === typeOf(type),
      ),
      'whole numbers are text',
    ],
  ];
  return checks.filter(([holds]) => !holds).map(([, text]) => text);
}
