/** Starts one Kafka for the whole test run, whose projects share it, or uses the one that KAFKA_BROKERS names. */
import type { TestProject } from 'vitest/node';
import { messageOf } from '../../src/errors.ts';
import { type Broker, startBroker } from '../../tools/kafka-broker.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Addresses of the Kafka that tests share; undefined when none can be had: tests then skip. */
    kafkaBrokers: string | undefined;
  }
}

/** Names the Kafka of an earlier project of this run; not KAFKA_BROKERS, which the programs under test could read. */
const variable = 'TEST_KAFKA';

let broker: Broker | undefined;

/**
 * Provides `kafkaBrokers` to the tests.
 * @throws Error when no Kafka can be had and MILLRACE_REQUIRE_KAFKA is 1
 */
export async function setup(project: TestProject): Promise<void> {
  const log = (line: string) => process.stderr.write(`kafka for tests: ${line}\n`);
  try {
    if (process.env[variable] === undefined) {
      broker = await startBroker({ port: 0, log });
      log(`${broker.brokers}, by ${broker.how}`);
      process.env[variable] = broker.brokers;
    }
  } catch (error) {
    if (process.env.MILLRACE_REQUIRE_KAFKA === '1') throw error;
    log(`none, so the Kafka tests are skipped: ${messageOf(error)}`);
  }
  project.provide('kafkaBrokers', process.env[variable]);
}

/** Stops what `setup` started. */
export async function teardown(): Promise<void> {
  await broker?.stop();
  delete process.env[variable];
}
