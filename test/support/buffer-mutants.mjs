/** Mutants on the way into the buffer: the batcher of the collector, its spool, and the Kafka client. See mutants.mjs. */

const producer = 'test/unit/buffer/kafka-producer.test.ts';
const session = 'test/unit/buffer/kafka-session.test.ts';
const owned = 'test/unit/buffer/kafka-owned-partition.test.ts';
const lease = 'test/unit/streamer/protocol/lease.test.ts';
const drain = 'test/unit/spool/drain.test.ts';
const batcher = 'test/unit/collector/batcher.test.ts';

const sendLine = 'await this.#sender.send(planned, (plan) => this.#commitPlan(plan));';

/** As {@link mutants}. */
export const bufferMutants = [
  {
    name: 'stamp kept',
    rule: 'numbers that were sent once and given up never come again',
    edits: [
      {
        file: 'buffer/kafka/partition-producer.ts',
        find: 'if (isSent) this.#stamp = undefined;',
        replace: '',
      },
    ],
    tests: [producer],
  },
  {
    name: 'maybe stored misjudged',
    rule: 'only answers that prove it mean that nothing was stored',
    edits: [
      {
        file: 'buffer/kafka/partition-producer.ts',
        find: 'return notNowCodes.has(code) || refusedCodes.has(code) || stampCodes.has(code);',
        replace: 'return code !== kafkaCodes.requestTimedOut && code !== kafkaCodes.networkException;',
      },
    ],
    tests: [producer],
  },
  {
    name: 'maybe stored forgotten by the next answer',
    rule: 'only answers that prove it mean that nothing was stored',
    edits: [
      {
        file: 'buffer/kafka/partition-producer.ts',
        find: 'trial.isMaybeStored ||= ',
        replace: 'trial.isMaybeStored = ',
      },
    ],
    tests: [producer],
  },
  {
    name: 'new numbers for what may be stored',
    rule: 'a retry goes under the numbers of the first try',
    edits: [
      {
        file: 'buffer/kafka/partition-producer.ts',
        find: 'if (!isMaybeStored) this.#stamp = undefined;\n    return !isMaybeStored;',
        replace: 'this.#stamp = undefined;\n    return isMaybeStored || !isMaybeStored;',
      },
    ],
    tests: [producer],
  },
  {
    name: 'other numbers than those of the ticket',
    rule: 'a ticket that the buffer has forgotten is lost, and that is said',
    edits: [
      {
        file: 'buffer/kafka/partition-producer.ts',
        find: 'if (this.#isPinned && stampCodes.has(code)) {',
        replace: 'if (this.#isPinned && stampCodes.size === 0) {',
      },
    ],
    tests: [producer],
  },
  {
    name: 'faults of the program taken for the network',
    rule: 'only what can get better is tried again',
    edits: [
      {
        file: 'buffer/kafka/coordinator.ts',
        find: 'if (code === undefined) return isNetworkTrouble(error);',
        replace: 'if (code === undefined) return !isNetworkTrouble(undefined);',
      },
    ],
    tests: [owned],
  },
  {
    name: 'suspended time not counted',
    rule: 'a time is never taken for shorter than it was',
    edits: [
      {
        file: 'time.ts',
        find: 'Math.max(later.steady - earlier.steady, later.wall - earlier.wall)',
        replace: 'later.steady - earlier.steady',
      },
    ],
    tests: [session, lease],
  },
  {
    name: 'set clock counted alone',
    rule: 'a time is never taken for shorter than it was',
    edits: [
      {
        file: 'time.ts',
        find: 'Math.max(later.steady - earlier.steady, later.wall - earlier.wall)',
        replace: 'later.wall - earlier.wall',
      },
    ],
    tests: [lease],
  },
  {
    name: 'chunk sent before its plan',
    rule: 'tickets are written down before they are used',
    edits: [
      {
        file: 'spool/drain.ts',
        find: 'await this.#commitPlan(plan);\n    return { chunk, plan, isFound: false };',
        replace: 'return { chunk, plan, isFound: false };',
      },
    ],
    tests: [drain],
  },
  {
    name: 'chunk committed before it is sent',
    rule: 'what the spool lets go of is in the buffer',
    edits: [
      {
        file: 'spool/drain.ts',
        find: sendLine,
        replace: `await this.#partition.commit(planned.chunk.end, '');\n      ${sendLine}`,
      },
    ],
    tests: [drain],
  },
  {
    name: 'other tickets after a crash',
    rule: 'a chunk is sent again under its tickets',
    edits: [
      {
        file: 'spool/drain.ts',
        find: 'return { chunk, plan, isFound: true };',
        replace:
          "const batches = plan.batches.map((batch) => ({ ...batch, ticket: batch.ticket + '+' }));\n    return { chunk, plan: { ...plan, batches }, isFound: true };",
      },
    ],
    tests: [drain],
  },
  {
    name: 'chunk of other records under a plan',
    rule: 'a chunk is sent again only as it was planned',
    edits: [{ file: 'spool/drain.ts', find: ' && isSame(chunk, plan.batches)', replace: '' }],
    tests: [drain],
  },
  {
    name: 'what may be stored goes to the spool',
    rule: 'only what the buffer surely does not hold goes to the spool',
    edits: [
      {
        file: 'collector/batcher.ts',
        find: '    !(error instanceof OutcomeUnknownError) &&\n',
        replace: '',
      },
    ],
    tests: [batcher],
  },
  {
    name: 'two appends at once',
    rule: 'one append is in flight in each partition',
    edits: [{ file: 'collector/batcher.ts', find: 'this.#busy.add(partition);', replace: '' }],
    tests: [batcher],
  },
  {
    name: 'events overtake those for the spool',
    rule: 'events with one id keep their order on the way to the spool',
    edits: [
      {
        file: 'collector/batcher.ts',
        find: 'partitions === 0 || this.#isBoundForSpool || this.#spool.isOpen()',
        replace: 'partitions === 0 || this.#spool.isOpen()',
      },
    ],
    tests: [batcher],
  },
  {
    name: 'all parts at the offset of the batch',
    rule: 'a receipt names the record',
    edits: [
      {
        file: 'collector/batcher.ts',
        find: 'waiter.stored(partition, offset, part);\n      offset += part.count;',
        replace: 'waiter.stored(partition, offset, part);',
      },
    ],
    tests: [batcher],
  },
];
