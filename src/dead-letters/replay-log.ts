/**
 * What replays do, written down before they do it: table `dead_letter_replays`.
 *
 * Every insert of a replay is a plan with a number, the exact offsets and a token. A number is taken once, since
 * ClickHouse drops the second insert under the same token; a plan may be made only when those before it are over.
 * So whatever was killed in the middle, or runs at the same time with other filters, no two plans hold the same
 * dead letter unless it is a row by then: whoever comes next inserts what is missing of the last plan, under its own
 * token, so that it is dropped if it is there by then, and only then asks what is missing and makes a plan of that.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClickHouse, quoteName, quoteText } from '../clickhouse/client.ts';
import { insertSettings } from '../clickhouse/inserts.ts';
import { createTable } from '../clickhouse/table-definitions.ts';
import { exitCodes, OperatorError } from '../errors.ts';
import type { Place } from './read-letters.ts';

/** One insert of a replay. */
export interface ReplayPlan extends Place {
  /** From 1 on. */
  readonly number: number;
  readonly offsets: readonly number[];
  readonly token: string;
  readonly skipDuplicatePaths: boolean;
}

/**
 * How a plan ended: all rows are in `events`; ClickHouse refused them all and nothing was stored; or ClickHouse
 * says that it has taken them and some are not there, as after a DELETE.
 */
type ReplayOutcome = 'done' | 'refused' | 'vanished';

const stepType = "Enum8('planned' = 1, 'done' = 2, 'refused' = 3, 'vanished' = 4)";

/** How long a replica may take to show what was written, milliseconds. */
const visibleWithinMs = 10_000;

/** The log; every method may throw what {@link ClickHouse} throws. */
export class ReplayLog {
  readonly #clickhouse: ClickHouse;
  readonly #database: string;
  readonly #table: string;
  readonly #cluster: string | undefined;
  readonly #replay = randomUUID();

  constructor(clickhouse: ClickHouse, database: string, cluster: string | undefined) {
    this.#clickhouse = clickhouse;
    this.#database = database;
    this.#table = `${quoteName(database)}.dead_letter_replays`;
    this.#cluster = cluster;
  }

  /** Makes the table unless it exists, and lets one of an earlier release take all steps. */
  async ensureTable(): Promise<void> {
    const lines = [
      'number UInt64',
      `step ${stepType}`,
      "at DateTime64(3, 'UTC')",
      'replay String',
      'topic_id String',
      'partition UInt32',
      'offsets Array(UInt64)',
      'token String',
      'skip_duplicate_paths Bool',
    ];
    await this.#clickhouse.execute(
      createTable(this.#table, { lines, layout: 'ORDER BY (number, step)', cluster: this.#cluster }),
    );
    const [step] = await this.#clickhouse.query<{ readonly type: string }>(
      `SELECT type FROM system.columns
       WHERE database = ${quoteText(this.#database)} AND table = 'dead_letter_replays' AND name = 'step'`,
    );
    if (step === undefined || step.type.includes('vanished')) return;
    const on = this.#cluster === undefined ? '' : ` ON CLUSTER ${quoteName(this.#cluster)}`;
    await this.#clickhouse.execute(`ALTER TABLE ${this.#table}${on} MODIFY COLUMN step ${stepType}`);
  }

  /** The plan with the highest number, and whether it is over; undefined when there is none. */
  async latest(): Promise<{ plan: ReplayPlan; isOver: boolean } | undefined> {
    const rows = await this.#read(`number = (SELECT max(number) FROM ${this.#table})`);
    const planned = rows.find(({ step }) => step === 'planned');
    if (planned === undefined) {
      if (rows.length === 0) return undefined;
      throw new OperatorError(
        `table ${this.#table} does not hold the plan of its last replay: wait for replication, then replay again`,
        exitCodes.unavailable,
      );
    }
    return { plan: planned, isOver: rows.some(({ step }) => step !== 'planned') };
  }

  /** Takes a number for the plan; false when another replay has taken it. */
  async propose(plan: ReplayPlan): Promise<boolean> {
    await this.#write(plan, 'planned', `planned:${plan.number}`);
    const deadline = performance.now() + visibleWithinMs;
    for (;;) {
      const [taken] = await this.#read(`number = ${plan.number} AND step = 'planned'`);
      if (taken !== undefined) return taken.replay === this.#replay;
      if (performance.now() > deadline) {
        throw new OperatorError(
          `plan ${plan.number} does not appear in table ${this.#table}: nothing was replayed. ` +
            'If rows were removed from that table, drop it; it is created again',
          exitCodes.failure,
        );
      }
      await sleep(100);
    }
  }

  /** Writes down that a plan is over. */
  async finish(plan: ReplayPlan, outcome: ReplayOutcome): Promise<void> {
    await this.#write(plan, outcome, `over:${plan.number}`);
  }

  async #write(plan: ReplayPlan, step: 'planned' | ReplayOutcome, token: string): Promise<void> {
    const row = {
      number: plan.number,
      step,
      at: Date.now(),
      replay: this.#replay,
      topic_id: plan.topicId,
      partition: plan.partition,
      offsets: step === 'planned' ? plan.offsets : [],
      token: plan.token,
      skip_duplicate_paths: plan.skipDuplicatePaths,
    };
    await this.#clickhouse.insert(
      `INSERT INTO ${this.#table} FORMAT JSONEachRow`,
      Buffer.from(JSON.stringify(row)),
      {
        settings: { ...insertSettings, insert_deduplication_token: token },
      },
    );
  }

  #read(where: string) {
    return this.#clickhouse.query<ReplayPlan & { readonly step: string; readonly replay: string }>(
      `SELECT number, step, replay, topic_id AS topicId, partition, offsets, token,
         skip_duplicate_paths AS skipDuplicatePaths
       FROM ${this.#table} WHERE ${where} ORDER BY step`,
      { settings: { output_format_json_quote_64bit_integers: 0 } },
    );
  }
}
