/** ClickHouse's exceptions, and the HTTP status that its HTTP interface gives to each. */
import type { Address } from '../config/types.ts';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** An exception of the engine, or one that its HTTP interface would raise. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  /** ClickHouse's number of the error. */
  readonly code: number;
  /** ClickHouse's name of the error: `UNKNOWN_TABLE`. */
  readonly type: string;
  /** Overrides the status that belongs to `code`. */
  readonly status: number | undefined;

  constructor(code: number, type: string, message: string, status?: number) {
    super(message);
    this.code = code;
    this.type = type;
    this.status = status;
  }
}

/**
 * As in ClickHouse's exceptionCodeToHTTPStatus; everything else is 500. Beyond it, what is refused by rights, by
 * read-only and by limits (158, 160, 241, 307, 396, 452, ...) is the request's fault, and no failure of the server.
 */
const statusByCodes: ReadonlyArray<readonly [status: number, codes: readonly number[]]> = [
  [400, [6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441]],
  [400, [675, 676]],
  [401, [194]],
  [403, [164, 192, 193, 291, 358, 452, 497, 512, 516]],
  [404, [46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511]],
  [408, [159]],
  [400, [158, 160, 241, 307, 344, 396, 456]],
  [411, [381]],
  [413, [229]],
  [415, [779]],
  [501, [48]],
  [503, [76, 209, 439]],
];
const statusByCode = new Map(statusByCodes.flatMap(([status, codes]) => codes.map((code) => [code, status])));

/** The HTTP status of an exception. */
export function httpStatusOf(error: EngineError): number {
  return error.status ?? statusByCode.get(error.code) ?? 500;
}

const prefix = /^Code: (\d+)\. DB::[\w:]*Exception: /;
const suffix = /[.\s]*\((version [^()]*(?:\([^()]*\))?|[A-Z][A-Z0-9_]{2,})\)[.\s]*$/;
/** Characters of a message that are kept, of its beginning and of its end: it quotes what was asked, of any length. */
const maxMessage = { start: 4_096, end: 512 };

/** Makes an EngineError of what the binding throws; the engine repeats its prefix and suffix when it nests. */
export function toEngineError(thrown: unknown): EngineError {
  if (thrown instanceof EngineError) return thrown;
  let message = shortened(messageOf(thrown)).trim();
  let code = 1001;
  let type = 'STD_EXCEPTION';
  for (let match = prefix.exec(message); match !== null; match = prefix.exec(message)) {
    code = Number(match[1]);
    message = message.slice(match[0].length);
  }
  for (let match = suffix.exec(message); match !== null; match = suffix.exec(message)) {
    if (match[1]?.startsWith('version') === false) type = match[1];
    message = message.slice(0, match.index);
  }
  return new EngineError(code, type, message);
}

/** Reading a message costs the square of its length, at worst. */
function shortened(message: string): string {
  const { start, end } = maxMessage;
  if (message.length <= start + end) return message;
  return `${message.slice(0, start)} … ${message.slice(-end)}`;
}

/** The text that ClickHouse sends for an exception; its clients parse it. */
export function exceptionText(error: EngineError, version: string): string {
  const message = error.message.replace(/\.+$/, '');
  return `Code: ${error.code}. DB::Exception: ${message}. (${error.type}) (version ${version} (embedded))\n`;
}

/** The error for an address that the embedded ClickHouse cannot listen on. */
export function cannotListen({ host, port }: Address, cause: unknown): OperatorError {
  const isInUse = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE';
  return new OperatorError(
    `the embedded ClickHouse cannot listen on ${host}:${port}: ${isInUse ? 'the port is in use' : messageOf(cause)}. ` +
      'Stop what uses the port, or set another one with --clickhouse-url.',
    exitCodes.unavailable,
    { cause },
  );
}
