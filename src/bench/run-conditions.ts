/**
 * What figures depend on: the machine, the versions, the collectors, and how requests were sent.
 *
 * What a collector says of itself, before anything is sent to it.
 *
 * What every figure depends on: this machine, and the program that measured.
 */
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { exitCodes, OperatorError } from '../errors.ts';
import { version } from '../version.ts';
import type { HttpGetter } from './endpoint.ts';
import type { BenchTarget } from './measure.ts';

/** What figures depend on. */
export interface RunConditions {
  /** RFC 3339. */
  readonly started_at: string;
  readonly machine: Machine;
  readonly versions: {
    readonly millrace: string;
    /** What was checked out where this program lies. */
    readonly commit: string | null;
    /** Null when ClickHouse was not asked. */
    readonly clickhouse: string | null;
  };
  readonly collectors: readonly CollectorInfo[];
  /** How requests were sent. */
  readonly options: {
    readonly path: string;
    readonly payload: string;
    readonly bytes_per_event: number;
    readonly events_per_post: number;
    readonly connections: number;
    readonly connection_use: 'kept' | 'fresh';
    readonly answer_timeout_ms: number;
    readonly warm_up_ms: number;
  };
}

/** Describes what figures depend on. */
export function describeConditions(
  { load, warmUpMs, store }: Pick<BenchTarget, 'load' | 'warmUpMs' | 'store'>,
  collectors: readonly CollectorInfo[],
): RunConditions {
  const { payload, connections, connectionUse, answerTimeoutMs, path } = load;
  return {
    started_at: new Date().toISOString(),
    machine: describeMachine(),
    versions: { millrace: version, commit: findCommit(), clickhouse: store?.version ?? null },
    collectors,
    options: {
      path,
      payload: payload.name,
      bytes_per_event: Math.round(payload.bytesPerEvent),
      events_per_post: payload.eventsPerPost,
      connections,
      connection_use: connectionUse,
      answer_timeout_ms: answerTimeoutMs,
      warm_up_ms: warmUpMs,
    },
  };
}

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
          ? `answers ${ready.status} to /readyz, so it is not a collector`
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

/** The machine that the load came from. Names are those of the JSON. */
interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly platform: string;
  readonly node: string;
}

/** Describes this machine. */
export function describeMachine(): Machine {
  const list = cpus();
  return {
    cpu: list[0]?.model.trim() ?? 'unknown',
    cores: list.length,
    memory_bytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

const packageDirectory = fileURLToPath(new URL('../..', import.meta.url));

/** The commit that is checked out where a program lies; null when that is no git checkout. */
export function findCommit(directory = packageDirectory): string | null {
  try {
    const git = gitDirectory(directory);
    const head = readFileSync(join(git, 'HEAD'), 'utf8').trim();
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    return ref === undefined ? asCommit(head) : readRef(commonDirectory(git), ref);
  } catch {
    return null;
  }
}

/** In a work tree of its own, `.git` is a file that names the directory. */
function gitDirectory(directory: string): string {
  const path = join(directory, '.git');
  try {
    const named = /^gitdir: (.+)$/m.exec(readFileSync(path, 'utf8'))?.[1];
    return named === undefined ? path : resolve(directory, named.trim());
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EISDIR') return path;
    throw error;
  }
}

/** Branches of a work tree are kept with the main one. */
function commonDirectory(git: string): string {
  try {
    return resolve(git, readFileSync(join(git, 'commondir'), 'utf8').trim());
  } catch {
    return git;
  }
}

function readRef(git: string, ref: string): string | null {
  try {
    return asCommit(readFileSync(join(git, ref), 'utf8').trim());
  } catch {
    const packed = readFileSync(join(git, 'packed-refs'), 'utf8');
    const line = packed.split('\n').find((one) => one.endsWith(` ${ref}`));
    return asCommit(line?.split(' ')[0] ?? '');
  }
}

function asCommit(text: string): string | null {
  return /^[0-9a-f]{40,64}$/.test(text) ? text : null;
}
