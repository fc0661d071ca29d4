/** Exit codes of every command; scripts rely on them. Numbers above 63 follow BSD sysexits(3). */
export const exitCodes = {
  ok: 0,
  /** Anything that no other code describes. */
  failure: 1,
  /** Wrong use: unknown command, missing argument. */
  usage: 2,
  /** A dependency (buffer, ClickHouse, a port, a data directory) is unavailable. */
  unavailable: 69,
  /** A fault in the configuration. */
  configuration: 78,
  /** `verify` found loss or repeats. */
  lossFound: 98,
  /** A threshold was missed. */
  thresholdMissed: 99,
} as const;

/** One of {@link exitCodes}. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/**
 * An error meant for the person at the terminal: its message says what happened, to what, and what to do
 * next. `main` prints the message without a stack and exits with `exitCode`.
 */
export class OperatorError extends Error {
  override readonly name = 'OperatorError';
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Whether something is an error of a dependency that is away. */
export function isUnavailable(error: unknown): error is OperatorError {
  return error instanceof OperatorError && error.exitCode === exitCodes.unavailable;
}

/** The message of anything thrown; falls back to `code` where the message is empty, as in AggregateError. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== '') return error.message;
  return 'code' in error ? String(error.code) : error.name;
}

/**
 * Stops the process loudly when an invariant of the delivery protocol does not hold: going on could lose or
 * repeat events, stopping cannot.
 * @throws InvariantError when `condition` is false
 */
export function assertInvariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** A broken invariant of the delivery protocol. Never caught for a retry: it ends the process. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/**
 * For code that catches errors and goes on: hands a broken invariant to the process as an uncaught error, which stops it
 * in order, with a line in the log.
 * @returns whether `error` was one
 */
export function escalateInvariant(error: unknown): error is InvariantError {
  if (!(error instanceof InvariantError)) return false;
  process.nextTick(() => {
    throw error;
  });
  return true;
}
