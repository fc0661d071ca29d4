/**
 * The result of a statement while it comes. ClickHouse has sent its status by then; when the statement fails after
 * that, it cuts the connection, and since 25.11 writes the exception at the end of the result before, between marks
 * that hold a random tag from the head of the answer. Source: the HTTP interface in ClickHouse's documentation, and
 * its test 03710 of the tag.
 */
import type { ResultStream } from '../clickhouse/client.ts';
import { ClickHouseError } from '../clickhouse/errors.ts';
import { messageOf } from '../errors.ts';

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
  const message = `the result broke off after ${bytes} bytes: ClickHouse failed in the middle of it, or the connection was lost (${messageOf(cause)})`;
  return Object.assign(new ClickHouseError(0, message), { cause });
}
