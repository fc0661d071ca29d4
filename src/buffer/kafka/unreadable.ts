/**
 * Record batches that cannot be read, whoever tries and whenever: what makes one, and by which name. The same bytes
 * must always come to the same end, since a plan that is read again has to hold the same records.
 */

/** Why a record batch cannot be read: the names that dead letters carry (docs/dead-letters.md). */
export type UnreadableCode = 'BATCH_TOO_LARGE' | 'BATCH_DAMAGED' | 'BATCH_UNSUPPORTED';

/** A record batch that nobody can read. Its message says why, without a byte of its content. */
export class UnreadableBatchError extends Error {
  override readonly name = 'UnreadableBatchError';
  readonly code: UnreadableCode;

  constructor(code: UnreadableCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The error for bytes that are not what they say. */
export function damaged(what: string): UnreadableBatchError {
  return new UnreadableBatchError('BATCH_DAMAGED', what);
}

/** The error for records that take more than `maxBytes`. */
export function tooLarge(maxBytes: number): UnreadableBatchError {
  return new UnreadableBatchError('BATCH_TOO_LARGE', `its records take more than ${maxBytes} bytes`);
}

/**
 * The checksum of a record batch does not match. Once, that may be its way here: what was acknowledged is not given up
 * before another answer has shown the same.
 */
export class ChecksumError extends UnreadableBatchError {
  readonly baseOffset: number;

  constructor(baseOffset: number) {
    super('BATCH_DAMAGED', 'its checksum does not match');
    this.baseOffset = baseOffset;
  }
}

/** A record batch that another installation can read: nothing may be delivered in its place. */
export class NotReadableHereError extends Error {
  override readonly name = 'NotReadableHereError';
}
