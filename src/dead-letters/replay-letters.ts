/**
 * Inserts dead letters into `events`, each at most once, whatever is killed or runs at the same time.
 *
 * Counts refusals by reason as they come, since keeping each would take memory without a limit.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ClickHouse } from '../clickhouse/client.ts';
import { ClickHouseError, columnOf } from '../clickhouse/errors.ts';
import {
  insertEventsStatement,
  insertSettings,
  type RowStructure,
  readStructure,
} from '../clickhouse/inserts.ts';
import type { DeadLetter, Refusal } from '../clickhouse/rows/dead-letter.ts';
import { createRowProbe, isDataError, type RowProbe } from '../clickhouse/rows/refused-rows.ts';
import type { KeepRaw } from '../clickhouse/table-definitions.ts';
import { syncReplica, type Tables } from '../clickhouse/tables.ts';
import { encodeEvents, findRefusedLetters } from './event-rows.ts';
import {
  cutHeads,
  type DeadLetterFilter,
  findAll,
  type LetterHead,
  type Place,
  patternOf,
  readLetters,
  readStored,
} from './read-letters.ts';
import { ReplayLog, type ReplayPlan } from './replay-log.ts';

/** How long rows that ClickHouse has taken may take to appear, milliseconds. */
const defaultVisibleWithinMs = 10_000;

/** What to replay and how. */
interface ReplayOptions {
  readonly clickhouse: ClickHouse;
  readonly tables: Tables;
  /** Cluster for ON CLUSTER. */
  readonly cluster: string | undefined;
  readonly filter: DeadLetterFilter;
  /** Change nothing; say what would be done. */
  readonly dryRun: boolean;
  /** Whether rows keep the bytes of their events. Default: always. */
  readonly keepRaw?: KeepRaw | undefined;
  /** Of a path that an event has twice, keep the first value. */
  readonly skipDuplicatePaths: boolean;
  readonly log: Logger;
  /** How long rows that ClickHouse has taken may take to appear, milliseconds. Default 10 s. */
  readonly visibleWithinMs?: number;
}

/** What a replay did. */
export interface ReplayResult {
  /** Rows that this run put into `events`; with `dryRun`, that it would. */
  replayed: number;
  /** Dead letters that were in `events` already. */
  alreadyThere: number;
  /** Rows that ClickHouse took from this run and that `events` does not show: a TTL or a person removed them. */
  vanished: number;
  /** Plans of earlier replays that were closed although their rows are not in `events`: these are pending again. */
  readonly closedPlans: ClosedPlan[];
  /** Dead letters that ClickHouse still refuses. */
  readonly refused: RefusedTally;
}

/** A plan that was closed without its rows. */
interface ClosedPlan {
  readonly plan: number;
  /** Rows of it that are not in `events`. */
  readonly rows: number;
}

/**
 * Replays the pending dead letters that match. Dead letters stay where they are.
 *
 * Each chunk: settle the last plan of any replay, ask which rows are missing, write their offsets down as the next
 * plan, insert them under its token, and look whether they are there (see {@link ReplayLog}).
 * A plan whose rows do not appear is closed all the same, or its token would stand in the way of every later replay.
 */
export async function replayLetters(options: ReplayOptions): Promise<ReplayResult> {
  const { clickhouse, tables, keepRaw } = options;
  const structure = await readStructure(clickhouse, { database: tables.database, keepRaw });
  const replay = new Replay(options, structure);
  return await replay.run();
}

class Replay {
  readonly #options: ReplayOptions;
  readonly #replays: ReplayLog;
  readonly #probe: RowProbe;
  readonly #structure: RowStructure;
  readonly #result: ReplayResult = {
    ...{ replayed: 0, alreadyThere: 0, vanished: 0 },
    closedPlans: [],
    refused: new RefusedTally(),
  };

  constructor(options: ReplayOptions, structure: RowStructure) {
    const { clickhouse, tables, cluster } = options;
    this.#options = options;
    this.#replays = new ReplayLog(clickhouse, tables.database, cluster);
    this.#probe = createRowProbe(clickhouse, structure, { settings: settingsOf(options) });
    this.#structure = structure;
  }

  async run(): Promise<ReplayResult> {
    const { dryRun, filter } = this.#options;
    if (!dryRun) {
      await this.#replays.ensureTable();
      await this.#settle();
    }
    for await (const page of findAll(this.#options, filter)) {
      for (const heads of cutHeads(page)) await this.#replayChunk(heads);
    }
    return this.#result;
  }

  async #replayChunk(heads: readonly LetterHead[]): Promise<void> {
    const [place] = heads;
    if (place === undefined) return;
    const result = this.#result;
    const before = await readStored(this.#options, place, heads);
    const missing = heads.filter(({ offset }) => !before.has(offset)).map(({ offset }) => offset);
    const letters = missing.length === 0 ? [] : await readLetters(this.#options, place, missing);
    const refused = await findRefusedLetters(letters, this.#probe);
    const isRefused = new Set<DeadLetter>(refused.map(({ letter }) => letter));
    const fit = letters.filter((letter) => !isRefused.has(letter));
    result.alreadyThere += before.size;
    for (const { letter, error } of refused) result.refused.add(letter, error);
    if (this.#options.dryRun) result.replayed += fit.length;
    else if (fit.length > 0) await this.#insertOnce(place, fit);
  }

  /** Plans and inserts what is missing of these letters, however often another replay comes before. */
  async #insertOnce(place: Place, letters: readonly DeadLetter[]): Promise<void> {
    for (;;) {
      const last = await this.#settle();
      const stored = await readStored(this.#options, place, letters);
      const missing = letters.filter(({ offset }) => !stored.has(offset));
      if (missing.length > 0) {
        const plan = this.#planOf(last + 1, place, missing);
        if (!(await this.#replays.propose(plan))) continue;
        const inserted = await this.#insertPlan(plan, missing);
        if (inserted instanceof ClickHouseError) {
          for (const letter of missing) this.#result.refused.add(letter, inserted);
        } else {
          this.#result.replayed += inserted;
          this.#result.vanished += missing.length - inserted;
        }
      }
      this.#result.alreadyThere += stored.size;
      return;
    }
  }

  /**
   * Finishes the last plan if whoever made it has not; gives its number, 0 when there is none. Only what is not
   * there is inserted, since ClickHouse may have forgotten the token; under the same token all the same, since
   * whoever made the plan may be about to insert it.
   */
  async #settle(): Promise<number> {
    const latest = await this.#replays.latest();
    if (latest === undefined) return 0;
    const { plan, isOver } = latest;
    if (isOver) return plan.number;
    const letters = await readLetters(this.#options, plan, plan.offsets);
    const stored = letters.length === 0 ? undefined : await readStored(this.#options, plan, letters);
    const missing = letters.filter(({ offset }) => !stored?.has(offset));
    this.#options.log.info({ plan: plan.number, rows: missing.length }, 'finishing an earlier replay');
    const inserted = await this.#insertPlan(plan, missing);
    if (!(inserted instanceof ClickHouseError) && inserted < missing.length)
      this.#result.closedPlans.push({ plan: plan.number, rows: missing.length - inserted });
    return plan.number;
  }

  #planOf(number: number, { topicId, partition }: Place, letters: readonly DeadLetter[]): ReplayPlan {
    const offsets = letters.map(({ offset }) => offset);
    const hash = createHash('sha256').update(offsets.join(',')).digest('hex').slice(0, 32);
    const token = `millrace:dead-letters:${topicId}:${partition}:${hash}:${number}`;
    const { skipDuplicatePaths } = this.#options;
    return { number, topicId, partition, offsets, token, skipDuplicatePaths };
  }

  /**
   * Inserts rows of a plan, waits until they are there, and closes it. Gives how many are there, or the error when
   * ClickHouse refuses them.
   */
  async #insertPlan(plan: ReplayPlan, letters: readonly DeadLetter[]): Promise<number | ClickHouseError> {
    const { clickhouse, tables, log } = this.#options;
    const settings = { ...settingsOf(plan), insert_deduplication_token: plan.token };
    const { columns, body } = encodeEvents(letters, this.#structure);
    try {
      if (letters.length > 0)
        await clickhouse.insert(insertEventsStatement(tables, columns), body, { settings });
    } catch (error) {
      if (!(error instanceof ClickHouseError && isDataError(error))) throw error;
      // The table has changed since the dry run.
      await this.#replays.finish(plan, 'refused');
      return error;
    }
    const rows = await this.#countThere(plan, letters);
    const { topicId, partition, number } = plan;
    const place = { plan: number, topicId, partition };
    await this.#replays.finish(plan, rows === letters.length ? 'done' : 'vanished');
    if (rows === letters.length) log.info({ ...place, rows }, 'replayed dead letters');
    else log.warn({ ...place, rows: letters.length - rows }, 'replayed rows are not in table events');
    return rows;
  }

  /** How many of these are in `events`: waits for those that are not there yet. */
  async #countThere(plan: ReplayPlan, letters: readonly DeadLetter[]): Promise<number> {
    if (letters.length === 0) return 0;
    const { clickhouse, tables } = this.#options;
    const deadline = performance.now() + (this.#options.visibleWithinMs ?? defaultVisibleWithinMs);
    for (;;) {
      const stored = await readStored(this.#options, plan, letters);
      if (stored.size === letters.length) return stored.size;
      if (performance.now() > deadline) break;
      await sleep(200);
    }
    // A replica that is behind must not pass for rows that are gone: they would be inserted under a new token.
    await syncReplica(clickhouse, tables, [tables.events]);
    return (await readStored(this.#options, plan, letters)).size;
  }
}

function settingsOf({ skipDuplicatePaths }: Pick<ReplayOptions, 'skipDuplicatePaths'>) {
  return { ...insertSettings, ...(skipDuplicatePaths ? { type_json_skip_duplicated_paths: 1 } : {}) };
}

/** Dead letters that are refused for the same reason. */
interface RefusedGroup {
  count: number;
  readonly code: number;
  readonly column: string;
  /** Without what differs from row to row. */
  readonly reason: string;
  readonly first: { readonly topic: string; readonly partition: number; readonly offset: number };
}

/** Kinds that are counted apart; reasons can hold text of the events, so that each could be of its own kind. */
const mostKinds = 1_000;
/** Kinds that are told. */
const mostGroups = 50;

/** Dead letters that ClickHouse still refuses. */
export class RefusedTally {
  #count = 0;
  readonly #groups = new Map<string, RefusedGroup>();

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Counts one. */
  add({ topic, partition, offset }: DeadLetter, { code, detail }: Refusal): void {
    this.#count++;
    const column = columnOf(detail);
    const reason = patternOf(detail);
    const key = JSON.stringify([code, column, reason]);
    const group = this.#groups.get(key);
    if (group !== undefined) group.count++;
    else if (this.#groups.size < mostKinds)
      this.#groups.set(key, { count: 1, code, column, reason, first: { topic, partition, offset } });
  }

  /** By reason, the most frequent first, at most 50. */
  groups(): RefusedGroup[] {
    return [...this.#groups.values()].sort((a, b) => b.count - a.count).slice(0, mostGroups);
  }

  /** How many are in none of the {@link groups}. */
  get others(): number {
    return this.groups().reduce((left, { count }) => left - count, this.#count);
  }
}
