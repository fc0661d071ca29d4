/** Runs one statement and writes its result while it comes. */
import { once } from 'node:events';
import type { ClickHouse } from '../clickhouse/client.ts';
import { type Credentials, readerUser } from '../clickhouse/credentials.ts';
import { ClickHouseError, ClickHouseUnavailableError, describeRefusal } from '../clickhouse/errors.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import { escapeControls, escapePieces } from './escape-controls.ts';
import { readResult } from './read-result.ts';
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
    const message = `${error.message}; check --clickhouse-url, and --clickhouse-timeout for what takes long`;
    return new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
  if (!(error instanceof ClickHouseError)) return error;
  const hint =
    deniedCodes.includes(error.code) && user === readerUser
      ? `\nUser ${readerUser} may only read: --clickhouse-user default has the right to change things`
      : '';
  const message = escapeControls(describeRefusal(error)) + hint;
  return new OperatorError(message, exitCodes.failure, { cause: error });
}
