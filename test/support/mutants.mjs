/** The mutants of test/mutants.mjs: each breaks one rule of the delivery protocol, here of the streamer. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the text of other files

import { bufferMutants } from './buffer-mutants.mjs';

const deliver = 'test/integration/deliver.test.ts';
const owners = 'test/integration/deliver-owners.test.ts';
const settle = 'test/integration/settle.test.ts';
const poison = 'test/integration/poison.test.ts';
const lease = 'test/unit/streamer/protocol/lease.test.ts';
const replay = 'test/unit/streamer/protocol/replay-plan.test.ts';
const refused = 'test/unit/clickhouse/rows/refused-rows.test.ts';
const buffer = 'test/integration/buffer-embedded.test.ts';

const insertLine = 'await source.during(batch, () => sink.insert(batch, partition, insertOptions));';
const takeLine = 'await lease.hold();\n    return lease;';
const takenWithoutCommit = 'lease.#confirmedAt = lease.#clock();\n    return lease;';
const uniqueTime = '`${tokenOf(this.#rows.identity, start, end)}:${process.hrtime.bigint()}`';
const deadLettersStart = '    const news = await withoutWritten(target, block,';

/** Each edit's `find` must be in the file exactly once. */
export const mutants = [
  {
    name: 'plan after the insert',
    rule: 'no insert without a committed plan',
    edits: [
      { file: 'streamer/protocol/lease.ts', find: takeLine, replace: takenWithoutCommit },
      {
        file: 'streamer/protocol/deliver.ts',
        find: insertLine,
        replace: `${insertLine}
    await partition.commit(batch.plan.start, encodeNote({ topicId: partition.topicId, ids: batch.idsBefore, settleUntil, plan: batch.plan }));`,
      },
    ],
    tests: [deliver],
  },
  {
    name: 'no plan at all',
    rule: 'no insert without a committed plan',
    edits: [
      {
        file: 'streamer/protocol/lease.ts',
        find: 'encodeNote({ topicId: partition.topicId, ids, settleUntil, plan })',
        replace: 'encodeNote({ topicId: partition.topicId, ids, settleUntil, plan: undefined })',
      },
    ],
    tests: [deliver],
  },
  {
    name: 'end committed before the insert',
    rule: 'an offset moves when everything before it is delivered',
    edits: [
      {
        file: 'streamer/protocol/deliver.ts',
        find: insertLine,
        replace: `await partition.commit(batch.plan.end, encodeNote({ topicId: partition.topicId, ids: source.idsBefore, settleUntil, plan: undefined }));
    ${insertLine}`,
      },
    ],
    tests: [deliver],
  },
  {
    name: 'token of the moment on replay',
    rule: 'one range, one token, stored and never computed again',
    edits: [
      {
        file: 'streamer/protocol/batch.ts',
        find: 'token: tokenOf(this.#rows.identity, start, end)',
        replace: `token: ${uniqueTime}`,
      },
      {
        file: 'streamer/protocol/replay-plan.ts',
        find: 'plan: { ...plan, crc: plan.crc ?? crc } }',
        replace: 'plan: sealed.plan }',
      },
    ],
    tests: [deliver],
  },
  {
    name: 'token of what is left on replay',
    rule: 'one range, one token, stored and never computed again',
    edits: [
      {
        file: 'streamer/protocol/replay-plan.ts',
        find: 'plan: { ...plan, crc: plan.crc ?? crc } }',
        replace:
          "plan: { ...plan, crc: plan.crc ?? crc, token: `${plan.token.replace(/:\\d+:\\d+$/, '')}:${plan.start + expired}:${plan.end}` } }",
      },
    ],
    tests: [replay, owners],
  },
  {
    name: 'replay by count',
    rule: 'a plan is read again by position: offsets need not be dense',
    edits: [
      {
        file: 'streamer/protocol/replay-plan.ts',
        find: 'end: plan.end }, (block',
        replace: 'end: Math.max(plan.start, start) + plan.rows }, (block',
      },
    ],
    tests: [replay],
  },
  {
    name: 'replay unchecked',
    rule: 'a plan is inserted again only from the records that it was made of',
    edits: [
      {
        file: 'streamer/protocol/replay-plan.ts',
        find: 'expired === 0 && (rows !== plan.rows || crc !== (plan.crc ?? crc))',
        replace: 'expired === 0 && rows !== plan.rows',
      },
    ],
    tests: [deliver],
  },
  {
    name: 'vanished plan skipped',
    rule: 'a plan is inserted again only from the records that it was made of',
    edits: [
      {
        file: 'streamer/protocol/replay-plan.ts',
        find: 'expired === 0 && (rows',
        replace: 'expired === 0 && rows > 0 && (rows',
      },
    ],
    tests: [deliver],
  },
  {
    name: 'two halves under one token',
    rule: 'one block for each token',
    edits: [
      {
        file: 'streamer/inserts/insert-block.ts',
        find: 'await sendRows(rows, tokenFor(rows));',
        replace: `await sendRows(rows.slice(0, rows.length >> 1), tokenFor(rows));
    await sendRows(rows.slice(rows.length >> 1), tokenFor(rows));`,
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle skipped after a restart',
    rule: 'a token is not trusted beyond a restart of ClickHouse',
    edits: [
      {
        file: 'streamer/inserts/settle.ts',
        find: 'if (uptimeMs > Math.max(ageMs, 0) + clockSkewMs) return undefined;',
        replace: 'if (uptimeMs >= 0) return undefined;',
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle skipped for an old plan',
    rule: 'a token is not trusted beyond the time that ClickHouse remembers it',
    edits: [
      {
        file: 'streamer/inserts/settle.ts',
        find: 'if (ageMs > settleAfterMs)',
        replace: 'if (ageMs < 0)',
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle skipped by a replay',
    rule: 'the first insert of a new owner may be a repeat',
    edits: [
      {
        file: 'streamer/inserts/clickhouse-sink.ts',
        find: 'if (isFirst({ attempt, isReplay })) return undefined;',
        replace: 'if (attempt === 1) return undefined;',
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle by the rows of another topic',
    rule: 'a record is topic id, partition and offset',
    edits: [
      {
        file: 'streamer/inserts/delivered-offsets.ts',
        find: "'topic_id = {topicId:String} AND partition",
        replace: "'partition",
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle without the dead letters',
    rule: 'dead letters and repeats are delivered',
    edits: [
      {
        file: 'streamer/inserts/settle.ts',
        find: 'new Set([...events, ...deadLetters, ...repeats]',
        replace: 'new Set([...events, ...repeats]',
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle under another token',
    rule: 'what may still be inserted by somebody else goes under the token of the plan',
    edits: [
      {
        file: 'streamer/inserts/settle.ts',
        find: 'round === 1 && !months.has',
        replace: 'round === 0 && !months.has',
      },
    ],
    tests: [settle],
  },
  {
    name: 'gap under a token of the whole gap',
    rule: 'two owners who find the same rows missing insert them once',
    edits: [
      {
        file: 'streamer/inserts/settle.ts',
        find: 'missingToken(batch, carried, round),',
        replace: 'missingToken(batch, carried.length < 0 ? [] : missing, round),',
      },
    ],
    tests: [settle],
  },
  {
    name: 'settle by the token alone',
    rule: 'a gap is filled though the token of the plan is known',
    edits: [
      {
        file: 'streamer/inserts/settle.ts',
        find: 'missingToken(batch, carried, round),',
        replace: 'carried.length < 0 ? "" : batch.plan.token,',
      },
    ],
    tests: [settle],
  },
  {
    name: 'memory of a batch given back before its insert has ended',
    rule: 'the rows of a token stay what they are',
    edits: [
      {
        file: 'streamer/protocol/batch-source.ts',
        find: `    await inserted;
    this.#pace.end();
    this.#reader.giveBack(batch);`,
        replace: `    this.#reader.giveBack(batch);
    await inserted;
    this.#pace.end();`,
      },
    ],
    tests: [deliver],
  },
  {
    name: 'dead letters not at all',
    rule: 'a refused row is a dead letter before the offset moves',
    edits: [
      {
        file: 'streamer/inserts/insert-block.ts',
        find: 'if (news.length > 0) {',
        replace: 'if (news.length < 0) {',
      },
    ],
    tests: [poison],
  },
  {
    name: 'dead letters after the good rows',
    rule: 'at no moment is a refused row nowhere while the others are there',
    edits: [
      {
        file: 'streamer/inserts/insert-block.ts',
        find: deadLettersStart,
        replace: `    const early = new Set(refused.map(({ index }) => index));
    await sendEvents(rows.filter((index) => !early.has(index)));
${deadLettersStart}`,
      },
    ],
    tests: [settle],
  },
  {
    name: 'dead letters under one token',
    rule: 'the token of dead letters is made of which they are',
    edits: [
      {
        file: 'streamer/inserts/insert-block.ts',
        find: ':${crc32(JSON.stringify(indexes))}`',
        replace: '`',
      },
    ],
    tests: [settle],
  },
  {
    name: 'good rows as dead letters',
    rule: 'only what ClickHouse refuses by itself is a dead letter',
    edits: [
      {
        file: 'clickhouse/rows/refused-rows.ts',
        find: ".text(value).uint32(betweenValues).text('{}')",
        replace: '.text(value)',
      },
    ],
    tests: [poison],
  },
  {
    name: 'suspects believed',
    rule: 'only what ClickHouse refuses by itself is a dead letter',
    edits: [
      {
        file: 'clickhouse/rows/refused-rows.ts',
        find: 'if (refused.length === tried.length)',
        replace: 'if (tried.length > 0)',
      },
    ],
    tests: [refused],
  },
  {
    name: 'offset reset without a word',
    rule: 'no record is skipped without being counted',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: 'if (lost > 0) this.#options.observer.expired(this.#partition, offset, start, lost);',
        replace: '',
      },
    ],
    tests: [owners],
  },
  {
    name: 'what was read is dropped when retention passes',
    rule: 'only what is gone is skipped',
    edits: [
      {
        file: 'streamer/protocol/batch-reader.ts',
        find: 'if (!(firstAt !== undefined && error instanceof OffsetOutOfRangeError)) throw error;',
        replace: 'if (firstAt !== undefined || error) throw error;',
      },
    ],
    tests: [owners],
  },
  {
    name: 'expired plan by its token',
    rule: 'a plan that retention has passed is settled by asking',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: "if (expired > 0) reasons.doubt = 'retention has passed it';",
        replace: '',
      },
    ],
    tests: [owners],
  },
  {
    name: "an earlier version's plan by its token",
    rule: 'a plan of an earlier version is settled by asking',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: "if (plan.crc === undefined) reasons.doubt = 'an earlier version of Millrace planned it';",
        replace: '',
      },
    ],
    tests: [settle],
  },
  {
    name: 'commit that was set back believed',
    rule: 'ClickHouse is the last judge of a commit',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: 'if (last === undefined) return note?.settleUntil;',
        replace: 'if (last !== -1) return note?.settleUntil;',
      },
    ],
    tests: [owners],
  },
  {
    name: 'doubt forgotten by the next owner',
    rule: 'ClickHouse is the last judge of a commit',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: 'const reasons = { ...doubtOf(settleUntil) };',
        replace: 'const reasons: { doubt?: string } = {};',
      },
    ],
    tests: [owners],
  },
  {
    name: 'commit of the former topic',
    rule: 'a commit belongs to a topic id',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: 'note !== undefined && note.topicId !== this.#partition.topicId',
        replace: "note !== undefined && note.topicId === ''",
      },
    ],
    tests: [owners],
  },
  {
    name: 'topic shorter than its commit',
    rule: 'an offset beyond the end stops delivery',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: 'if (offset > bounds.end) throw this.shorter(offset, bounds.end);',
        replace: 'if (offset > bounds.end) return { position: bounds.end, ids: undefined };',
      },
    ],
    tests: [deliver],
  },
  {
    name: 'lease not renewed',
    rule: 'no request under a lease that is old',
    edits: [
      {
        file: 'streamer/protocol/lease.ts',
        find: 'if (msBetween(this.#confirmedAt, now) < maxAgeMs) return;',
        replace: 'if (this.#confirmedAt.steady >= 0) return;',
      },
    ],
    tests: [lease, owners],
  },
  {
    name: 'lease counted from the answer',
    rule: 'no request under a lease that is old',
    edits: [
      {
        file: 'streamer/protocol/lease.ts',
        find: 'this.#confirmedAt = now;',
        replace: 'this.#confirmedAt = this.#clock();',
      },
    ],
    tests: [lease],
  },
  {
    name: 'lease not asked before a request',
    rule: 'no request under a lease that is old',
    edits: [{ file: 'streamer/inserts/insert-block.ts', find: 'await lease.hold();', replace: '' }],
    tests: [lease],
  },
  {
    name: 'repeats forgotten by the next owner',
    rule: 'a new owner finds the same repeats',
    edits: [
      {
        file: 'streamer/protocol/recover.ts',
        find: 'if (ids === undefined || mark?.offset === undefined) return;',
        replace: 'if (ids === undefined || mark?.offset === undefined || end >= 0) return;',
      },
    ],
    tests: [owners],
  },
  {
    name: 'repeats without a mark in the plan',
    rule: 'a new owner finds the same repeats',
    edits: [
      {
        file: 'streamer/protocol/lease.ts',
        find: 'encodeNote({ topicId: partition.topicId, ids, settleUntil, plan })',
        replace: 'encodeNote({ topicId: partition.topicId, ids: ids && undefined, settleUntil, plan })',
      },
    ],
    tests: [owners],
  },
  {
    name: 'other repeats by the token',
    rule: 'a plan whose repeats are others now is settled by asking',
    edits: [
      {
        file: 'streamer/protocol/replay-plan.ts',
        find: 'hasOtherRepeats: repeatsCrc !== plan.repeatsCrc',
        replace: 'hasOtherRepeats: repeatsCrc < 0',
      },
    ],
    tests: [owners],
  },
  {
    name: 'commit without the generation',
    rule: 'who was replaced commits nothing',
    edits: [
      {
        file: 'buffer/embedded/owned-partition.ts',
        find: 'if (readGeneration(environment, group) !== generation) return false;',
        replace: '',
      },
    ],
    tests: [owners, buffer],
  },
  ...bufferMutants,
];
