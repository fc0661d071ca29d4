/**
 * Error codes of the Kafka protocol that the adapter acts on, and how errors of the client are told apart.
 *
 * Tells what goes wrong on the way to a broker and back from what is wrong in this program.
 *
 * Failures of one kind in a row: told of once they are no accident, and once more when they are over.
 */
import { NetworkError, ProtocolError, ResponseError, TimeoutError } from '@platformatic/kafka';
import { BrokerAnswerError, NotConnectedError } from './broker-link.ts';

/** Codes by their names in the protocol's own list. */
export const kafkaCodes = {
  unknownServerError: -1,
  none: 0,
  offsetOutOfRange: 1,
  corruptMessage: 2,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeaderOrFollower: 6,
  requestTimedOut: 7,
  replicaNotAvailable: 9,
  messageTooLarge: 10,
  offsetMetadataTooLarge: 12,
  networkException: 13,
  coordinatorLoadInProgress: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  invalidTopic: 17,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  illegalGeneration: 22,
  inconsistentGroupProtocol: 23,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  topicAuthorizationFailed: 29,
  clusterAuthorizationFailed: 31,
  invalidTimestamp: 32,
  topicAlreadyExists: 36,
  invalidConfig: 40,
  unsupportedForMessageFormat: 43,
  outOfOrderSequenceNumber: 45,
  duplicateSequenceNumber: 46,
  invalidProducerEpoch: 47,
  invalidProducerIdMapping: 49,
  kafkaStorageError: 56,
  unknownProducerId: 59,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  unsupportedCompressionType: 76,
  offsetNotAvailable: 78,
  memberIdRequired: 79,
  fencedInstanceId: 82,
  invalidRecord: 87,
  unstableOffsetCommit: 88,
  throttlingQuotaExceeded: 89,
  producerFenced: 90,
  unknownTopicId: 100,
} as const;

/** Answers of a leader that later tries may not get. */
export const transientCodes: ReadonlySet<number> = new Set<number>([
  kafkaCodes.unknownServerError,
  kafkaCodes.unknownTopicOrPartition,
  kafkaCodes.leaderNotAvailable,
  kafkaCodes.notLeaderOrFollower,
  kafkaCodes.requestTimedOut,
  kafkaCodes.replicaNotAvailable,
  kafkaCodes.kafkaStorageError,
  kafkaCodes.fencedLeaderEpoch,
  kafkaCodes.unknownLeaderEpoch,
  kafkaCodes.offsetNotAvailable,
  kafkaCodes.unstableOffsetCommit,
  kafkaCodes.unknownTopicId,
]);

/** An answer of the broker that carries an error code; anything else thrown is a failure on the way. */
export class KafkaError extends Error {
  override readonly name = 'KafkaError';
  /** One of the protocol's error codes. */
  readonly code: number;

  constructor(code: number, context: string, detail?: string | null, options?: ErrorOptions) {
    super(`${context}: ${nameOfCode(code)}${detail ? ` (${detail})` : ''}`, options);
    this.code = code;
  }
}

/** The code within an error thrown by the client's own calls; undefined when no broker sent it. */
export function codeOf(error: unknown): number | undefined {
  if (error instanceof KafkaError) return error.code;
  if (!(error instanceof ResponseError)) return undefined;
  for (const inner of error.errors) if (inner instanceof ProtocolError) return Number(inner.apiCode);
  return undefined;
}

/** The message of the innermost cause: `connect ECONNREFUSED …` says more than `Connection failed`. */
export function reasonOf(error: unknown): string {
  if (error instanceof ResponseError && error.errors[0] instanceof ProtocolError) {
    const { apiId, serverErrorMessage } = error.errors[0];
    return serverErrorMessage ? `${apiId}: ${serverErrorMessage}` : String(apiId);
  }
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) return reasonOf(error.cause);
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}

function nameOfCode(code: number): string {
  try {
    return String(new ProtocolError(code).apiId);
  } catch {
    return `error code ${code}`;
  }
}

/**
 * Whether there was nobody to ask, or no answer that can be read: the same request may succeed later. Anything else
 * that has no code of Kafka is a fault of this program, which no other try mends: it has to be thrown on.
 */
export function isNetworkTrouble(error: unknown): error is Error {
  return (
    error instanceof NotConnectedError ||
    error instanceof NetworkError ||
    error instanceof TimeoutError ||
    error instanceof BrokerAnswerError
  );
}

/** Whether Kafka is to blame: it could not be asked, or it refuses. */
export function isKafkaTrouble(error: unknown): error is Error {
  return isNetworkTrouble(error) || codeOf(error) !== undefined;
}

/** So many in a row are not worth a word: the next try is often better. */
const patientTries = 3;

/** Counts them. */
export class Streak {
  readonly #tell: (reason: string | undefined) => void;
  #length = 0;
  #isTold = false;

  /** `tell`: called with the reason when it may have changed, and with undefined when the failures are over. */
  constructor(tell: (reason: string | undefined) => void) {
    this.#tell = tell;
  }

  /** Failures so far. */
  get length(): number {
    return this.#length;
  }

  /** One more. `reason`: of the whole, for a person. */
  failed(reason: string): void {
    if (++this.#length <= patientTries) return;
    this.#isTold = true;
    this.#tell(reason);
  }

  /** It worked, or nobody tries any more. */
  ended(): void {
    this.#length = 0;
    if (!this.#isTold) return;
    this.#isTold = false;
    this.#tell(undefined);
  }
}
