import { isUtf8 } from 'node:buffer';
import { exitCodes, OperatorError } from '../errors.ts';
import { createUserAgentNames, parseLogLine } from './access-log.ts';

/** What a file holds. */
export type Format = 'ndjson' | 'access-log';

/** A line as an event to post, or why it is none. */
type EncodedLine =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly timeMs: number | undefined }
  | { readonly ok: false; readonly reason: string };

/** Makes an event of a line that is not blank. */
export type EncodeLine = (line: Buffer) => EncodedLine;

/** What an access log with ports starts with where clients have IPv6. */
const bracketedAddress = /^\[[\da-f]*:[\da-f:.]*(?:%[\w.-]+)?\][:, ]/i;

/**
 * Tells the format by the first line that is not blank.
 * @throws OperatorError exit 2 when it is a JSON array
 */
export function detectFormat(line: Buffer): Format {
  const start = line.toString('utf8').trimStart();
  if (start.startsWith('[') && !bracketedAddress.test(start)) {
    throw new OperatorError(
      "the file starts with [ like a JSON array, but replay takes one event per line; convert it with jq -c '.[]'",
      exitCodes.usage,
    );
  }
  return start.startsWith('{') ? 'ndjson' : 'access-log';
}

/** Makes the encoder of a format. `needsTime`: whether an event's own time will be asked for. */
export function createEncoder(format: Format, needsTime: boolean): EncodeLine {
  return format === 'ndjson' ? createJsonEncoder(needsTime) : createLogEncoder();
}

/** The bytes as they are: whether they are JSON is for the collector to say. */
function createJsonEncoder(needsTime: boolean): EncodeLine {
  return (line) => ({ ok: true, bytes: line, timeMs: needsTime ? readTime(line) : undefined });
}

function createLogEncoder(): EncodeLine {
  const nameUserAgent = createUserAgentNames();
  return (line) => {
    const parsed = parseLogLine(readText(line), nameUserAgent);
    if (!parsed.ok) return parsed;
    return { ok: true, bytes: Buffer.from(JSON.stringify(parsed.event)), timeMs: parsed.timeMs };
  };
}

/** Bytes that are no UTF-8 become `\xHH`, as servers write them that escape what they do not know. */
function readText(line: Buffer): string {
  if (isUtf8(line)) return line.toString('utf8');
  return line.toString('latin1').replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
}

function readTime(line: Buffer): number | undefined {
  try {
    const event: unknown = JSON.parse(line.toString('utf8'));
    if (typeof event !== 'object' || event === null || !('time' in event)) return undefined;
    const timeMs = typeof event.time === 'string' ? Date.parse(event.time) : Number.NaN;
    return Number.isNaN(timeMs) ? undefined : timeMs;
  } catch {
    return undefined;
  }
}
