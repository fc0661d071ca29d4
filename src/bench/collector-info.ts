/** What a collector says of itself, before anything is sent to it. */
import { z } from 'zod';
import { exitCodes, OperatorError } from '../errors.ts';
import type { HttpGetter } from './http-get.ts';

/** A collector as its `/status` describes it; null where it does not say. Names are those of the JSON. */
export interface CollectorInfo {
  readonly url: string;
  readonly version: string | null;
  /** Kind of its buffer: `embedded`, `kafka`. */
  readonly buffer: string | null;
  readonly topic: string | null;
  readonly partitions: number | null;
  /** What its acknowledgement stands for. */
  readonly durability: string | null;
}

const statusPage = z.object({
  version: z.string().nullable().catch(null),
  buffer: z
    .object({
      kind: z.string().nullable().catch(null),
      topic: z.string().nullable().catch(null),
      partitions: z.number().nullable().catch(null),
    })
    .catch({ kind: null, topic: null, partitions: null }),
});

/** What the buffers of Millrace do before they acknowledge; no option weakens it. */
const durabilities: ReadonlyMap<string, string> = new Map([
  ['embedded', 'flushed to the disk of the collector before each answer'],
  ['kafka', 'acks=all, idempotent: stored by all in-sync replicas before each answer'],
]);

/**
 * Asks the collector whether it is ready, and what it is.
 * @param options.isOurs false: it may have no `/readyz`, as long as it answers
 * @throws OperatorError exit 69 when it does not answer, or is not ready
 */
export async function askCollector(
  http: HttpGetter,
  url: URL,
  { isOurs, option }: { readonly isOurs: boolean; readonly option: string },
): Promise<CollectorInfo> {
  const ready = await http.get(new URL('/readyz', url));
  const problem =
    ready.status === undefined
      ? `does not answer: ${ready.reason}`
      : ready.status === 503
        ? `is not ready: ${excerpt(ready.body)}`
        : ready.status !== 200 && isOurs
          ? `answers ${ready.status} to /readyz, which no collector does`
          : undefined;
  if (problem !== undefined)
    throw new OperatorError(
      `the collector at ${url.origin} ${problem}; nothing was sent. Check ${option}, and that it runs`,
      exitCodes.unavailable,
    );
  const status = await http.get(new URL('/status', url));
  const { version, buffer } = statusPage.catch(unknown).parse(parseJson(status));
  const { kind, topic, partitions } = buffer;
  const durability = durabilities.get(kind ?? '') ?? null;
  return { url: url.origin, version, buffer: kind, topic, partitions, durability };
}

const unknown = { version: null, buffer: { kind: null, topic: null, partitions: null } };

function parseJson(answer: Awaited<ReturnType<HttpGetter['get']>>): unknown {
  if (answer.status === undefined) return undefined;
  try {
    return JSON.parse(answer.body);
  } catch {
    return undefined;
  }
}

function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 200)}...` : line;
}
