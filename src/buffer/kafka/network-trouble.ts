/** Tells what goes wrong on the way to a broker and back from what is wrong in this program. */
import { NetworkError, TimeoutError } from '@platformatic/kafka';
import { BrokerAnswerError } from './answer-guard.ts';
import { NotConnectedError } from './broker-link.ts';
import { codeOf } from './kafka-errors.ts';

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
