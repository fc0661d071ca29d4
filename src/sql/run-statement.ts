/**
 * Runs one statement and writes its result while it comes.
 *
 * The result of a statement while it comes. ClickHouse has sent its status by then; when the statement fails after
 * that, it cuts the connection, and since 25.11 writes the exception at the end of the result before, between marks
 * that hold a random tag from the head of the answer. Source: the HTTP interface in ClickHouse's documentation, and
 * its test 03710 of the tag.
 */
import { once } from 'node:events';
import type { ClickHouse, ResultStream } from '../clickhouse/client.ts';
import { type Credentials, readerUser } from '../clickhouse/credentials.ts';
import { ClickHouseError, ClickHouseUnavailableError, describeRefusal } from '../clickhouse/errors.ts';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { escapeControls, escapePieces } from '../text.ts';
import type { Statement } from './split-statements.ts';

/** Where statements go, and their results. */
export interface SqlSession {
  readonly clickhouse: ClickHouse;
  /** As whom. */
  readonly user: Credentials['user'];
  /** Format of results whose statement names none. */
  readonly format: string;
  readonly output: NodeJS.WriteStream;
}

/** READONLY and ACCESS_DENIED: the user may come in, but not do this. */
const deniedCodes = [164, 497];

/**
 * Resolves when the output has taken the result; no more of it is in memory than a few pieces.
 * @throws OperatorError exit 1 when ClickHouse refuses the statement or breaks the result off, 69 when nobody answers
 * @throws whatever `signal` was aborted with
 */
export async function runStatement(
  session: SqlSession,
  { text }: Statement,
  signal: AbortSignal,
): Promise<void> {
  const { clickhouse, format, output } = session;
  try {
    const pieces = readResult(await clickhouse.stream(text, format, { signal }));
    // What is not for a terminal may be binary.
    for await (const piece of output.isTTY ? escapePieces(pieces) : pieces) {
      if (piece.length > 0 && !output.write(piece)) await once(output, 'drain', { signal });
    }
  } catch (error) {
    signal.throwIfAborted();
    throw explain(error, session);
  }
}

/** ClickHouse quotes what is stored: its messages are no safer for a terminal than results. */
function explain(error: unknown, { user }: SqlSession): unknown {
  if (error instanceof ClickHouseUnavailableError) {
    const message = `${error.message}; check --clickhouse-url, or raise --clickhouse-timeout for long statements`;
    return new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
  if (!(error instanceof ClickHouseError)) return error;
  const hint =
    deniedCodes.includes(error.code) && user === readerUser
      ? `\nUser ${readerUser} may only read: --clickhouse-user default may also change data`
      : '';
  const message = escapeControls(describeRefusal(error)) + hint;
  return new OperatorError(message, exitCodes.failure, { cause: error });
}

/** ClickHouse keeps the block of an exception below 16 KiB. */
const maxExceptionBytes = 64 * 1024;

/**
 * The pieces of a result, without the exception at its end.
 * @throws ClickHouseError while it is read: the exception, or code 0 when the result breaks off without one
 */
export async function* readResult({
  body,
  exceptionTag: tag,
}: ResultStream): AsyncGenerator<Uint8Array, void, undefined> {
  const mark = tag === '' ? undefined : Buffer.from(`\r\n__exception__\r\n${tag}\r\n`);
  /** What may be the beginning of the mark; after the mark, all that follows. */
  let held = Buffer.alloc(0);
  let isException = false;
  let bytes = 0;
  try {
    for await (const piece of body) {
      bytes += piece.length;
      if (mark === undefined) {
        yield piece;
        continue;
      }
      held = Buffer.concat([held, piece]);
      if (isException) {
        held = held.subarray(0, maxExceptionBytes);
        continue;
      }
      const at = held.indexOf(mark);
      isException = at >= 0;
      const end = isException ? at : Math.max(0, held.length - mark.length + 1);
      if (end > 0) yield held.subarray(0, end);
      held = held.subarray(isException ? at + mark.length : end);
    }
  } catch (error) {
    // The connection is cut behind an exception.
    if (!isException) {
      yield held;
      throw brokenOff(bytes, error);
    }
  }
  if (isException) throw toError(held.toString('utf8'));
  if (held.length > 0) yield held;
}

/** From `Code: 395. DB::Exception: …`, a line with the length, and the closing marks. */
function toError(block: string): ClickHouseError {
  const message = block.replace(/\n\d+ \S+\r\n__exception__\r\n$/, '').trim();
  return new ClickHouseError(Number(/^Code: (\d+)/.exec(message)?.[1] ?? 0), message.slice(0, 4_000));
}

function brokenOff(bytes: number, cause: unknown): ClickHouseError {
  const message = `the result was cut off after ${bytes} bytes: ClickHouse failed in the middle of it, or the connection was lost (${messageOf(cause)})`;
  return Object.assign(new ClickHouseError(0, message), { cause });
}
