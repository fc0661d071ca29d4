/**
 * Reports errors to Sentry, or to what speaks its protocol: lines of the log of level error and fatal, without secrets,
 * a few a minute, never tried again. Source: https://develop.sentry.dev/sdk/foundations/transport/envelopes/
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { request } from 'undici';
import { createScrubber } from './redact.ts';
import { version } from './version.ts';

/** A line of the log, as far as it is reported. */
interface ErrorLine {
  readonly level: 'error' | 'fatal';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Takes the errors of a process. */
export interface ErrorReporter {
  /** Never throws, never waits. */
  report(line: ErrorLine): void;
  /** Waits for reports on their way, for a moment at most. */
  flush(): Promise<void>;
}

/** Where reports go, and from whom. */
interface ReporterOptions {
  /** `https://<key>@<host>/<project>` */
  readonly dsn: URL;
  /** As in the log. */
  readonly service: string;
  readonly secrets: readonly string[];
}

const perMinute = 10;
const timeoutMs = 3_000;
const longestText = 1_000;
/** Fields that say where something happened. Others are left out: nobody can tell what may be in them one day. */
const shownFields = ['topic', 'partition', 'code', 'request_id', 'trace_id'];

/** Makes a reporter. */
export function createErrorReporter({ dsn, service, secrets }: ReporterOptions): ErrorReporter {
  const scrub = createScrubber([...secrets, dsn.username]);
  const [, path = '', project = ''] = /^(.*\/)([^/]+)\/?$/.exec(dsn.pathname) ?? [];
  const url = `${dsn.origin}${path}api/${project}/envelope/`;
  const auth = `Sentry sentry_version=7, sentry_client=millrace/${version}, sentry_key=${dsn.username}`;
  const underway = new Set<Promise<void>>();
  let minute = -1;
  let sent = 0;
  /** Until then the receiver wants none, in ms of `performance.now`. */
  let pausedUntil = 0;

  function mayReport(): boolean {
    const now = performance.now();
    if (Math.floor(now / 60_000) !== minute) {
      minute = Math.floor(now / 60_000);
      sent = 0;
    }
    return now >= pausedUntil && sent++ < perMinute;
  }

  async function send(event: { readonly event_id: string }): Promise<void> {
    const head = { event_id: event.event_id, sent_at: new Date().toISOString() };
    const body = [head, { type: 'event' }, event].map((part) => JSON.stringify(part)).join('\n');
    try {
      const response = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-sentry-envelope', 'x-sentry-auth': auth },
        body: scrub(body),
        signal: AbortSignal.timeout(timeoutMs),
      });
      await response.body.dump();
      if (response.statusCode !== 429) return;
      const seconds = Number(response.headers['retry-after'] ?? 60);
      pausedUntil = performance.now() + (seconds > 0 ? seconds : 60) * 1_000;
    } catch {
      // The line is in the log, whatever becomes of the report.
    }
  }

  return {
    report(line) {
      if (!mayReport()) return;
      const report = send(toEvent(line, service)).finally(() => underway.delete(report));
      underway.add(report);
    },
    async flush() {
      await Promise.all(underway);
    },
  };
}

function toEvent({ level, message, fields }: ErrorLine, service: string) {
  const { err } = fields;
  const tags = shownFields.filter((name) => fields[name] !== undefined);
  return {
    event_id: randomUUID().replaceAll('-', ''),
    timestamp: Date.now() / 1_000,
    platform: 'node',
    level,
    logger: service,
    release: `millrace@${version}`,
    server_name: hostname(),
    message: { formatted: message.slice(0, longestText) },
    tags: Object.fromEntries(tags.map((name) => [name, String(fields[name]).slice(0, 200)])),
    ...(err instanceof Error && { exception: { values: [toException(err)] } }),
  };
}

function toException(error: Error) {
  const lines = (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at '));
  return {
    type: error.name,
    value: error.message.slice(0, longestText),
    // Sentry has the innermost call last.
    stacktrace: { frames: lines.reverse().map(toFrame) },
  };
}

function toFrame(line: string) {
  const [, name, file = '', lineNumber] = /^ {4}at (?:(.+) \()?(.*?):(\d+):\d+\)?$/.exec(line) ?? [];
  return {
    function: name ?? '?',
    filename: file.replace(/^.*\/(?=dist\/|node_modules\/)/, 'app:///'),
    lineno: Number(lineNumber ?? 0),
    in_app: /\/dist\//.test(file),
  };
}
