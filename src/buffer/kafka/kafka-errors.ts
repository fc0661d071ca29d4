/** Error codes of the Kafka protocol that the adapter acts on, and how errors of the client are told apart. */
import { ProtocolError, ResponseError } from '@platformatic/kafka';

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
