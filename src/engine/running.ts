/**
 * Queries that run: how one is found again and ended. chDB gives each an id of its own and offers no way to cancel one,
 * but a setting of its connection is seen in `system.processes`, and KILL QUERY finds it there.
 *
 * Bounds how many calls the engine executes at once.
 *
 * Ends queries that nobody waits for any more, or that take longer than they may.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type CanonicalToken, readCanonical } from './canonical.ts';
import { EngineError } from './error.ts';
import type { Role } from './policy.ts';
import { quoteLiteral, tagSetting } from './scope.ts';

const tag = `Settings['${tagSetting}']`;

/** A condition that finds the queries with these tags among those that run. */
export function hasTag(tags: readonly string[]): string {
  return `${tag} IN (${tags.map(quoteLiteral).join(', ')})`;
}

/** What a query is found by: whose it is, a number that no other has, and the id that its client gave. */
export function tagOf(role: Role, number: number, queryId: string): string {
  return `${role} ${number} ${queryId}`;
}

/** The id that a client knows a query by, in place of the engine's own. */
const clientId = `if(${tag} = '', query_id, extract(${tag}, '^\\\\w+ \\\\d+ (.*)$'))`;

/**
 * Makes a statement speak of queries by the ids of their clients: the condition of a KILL QUERY, and what is read from
 * `system.processes`. For a reader, whom ClickHouse takes for the same user as the owner, KILL QUERY ends queries of
 * readers only.
 * @param canonical a statement that was judged
 */
export function withClientIds(canonical: string, role: Role): string {
  const isKill = canonical.startsWith('KILL QUERY ');
  const isRead = /^(SELECT|WITH)\b/.test(canonical) && canonical.includes('system.processes');
  if (!isKill && !isRead) return canonical;
  const tokens = readCanonical(canonical);
  if (!isKill) return withProcesses(canonical, tokens);
  const named = replaced(
    canonical,
    tokens.filter(({ kind, text }) => kind === 'word' && text === 'query_id'),
    () => clientId,
  );
  return role === 'owner' ? named : named.replace(' WHERE ', ` WHERE startsWith(${tag}, 'reader ') AND `);
}

/** Whether a statement is the one KILL that a reader may use: of one query, by its id. */
export function isKillById(canonical: string): boolean {
  if (!canonical.startsWith('KILL QUERY WHERE query_id = ')) return false;
  const [, , , , , id, mode, ...rest] = readCanonical(canonical);
  const isFormat = rest.length === 2 && rest[0]?.text === 'FORMAT';
  return id?.kind === 'string' && mode?.text === 'ASYNC' && (rest.length === 0 || isFormat);
}

/** Each `FROM system.processes` becomes a subquery that has the table's columns, and its name or alias. */
function withProcesses(canonical: string, tokens: readonly CanonicalToken[]): string {
  const isColumn = (index: number) => tokens[index + 3]?.text === '.';
  const found = tokens.filter(
    (token, index) =>
      token.text === 'system' && tokens[index + 1]?.text === '.' && tokens[index + 2]?.text === 'processes',
  );
  // `system.processes.query_id` names a column by its table, which a subquery has no such name for.
  if (found.some((token) => isColumn(tokens.indexOf(token)))) return canonical;
  const tables = found.filter((token) => {
    const before = tokens[tokens.indexOf(token) - 1]?.text ?? '';
    return /^(FROM|JOIN)$/.test(before);
  });
  return replaced(canonical, tables, (token) => {
    const index = tokens.indexOf(token);
    const hasAlias = tokens[index + 3]?.text === 'AS';
    const end = tokens[index + 2]?.end ?? token.end;
    const subquery = `(SELECT * REPLACE (${clientId} AS query_id) FROM system.processes)`;
    return { text: hasAlias ? subquery : `${subquery} AS processes`, end };
  });
}

function replaced(
  text: string,
  tokens: readonly CanonicalToken[],
  by: (token: CanonicalToken) => string | { readonly text: string; readonly end: number },
): string {
  let result = '';
  let at = 0;
  for (const token of tokens) {
    const made = by(token);
    result += text.slice(at, token.start) + (typeof made === 'string' ? made : made.text);
    at = typeof made === 'string' ? token.end : made.end;
  }
  return result + text.slice(at);
}

/** What a query runs under. */
export interface Watch {
  /** Whoever asked is gone. */
  readonly signal?: AbortSignal | undefined;
  /** Longest time, milliseconds, should the engine's own limit not end it. Without it there is none. */
  readonly maxMs?: number | undefined;
}

/** One query that is watched. */
interface Watched {
  /** What the client is told of what the query ended with. */
  explain(error: EngineError): EngineError;
  /** The query has ended. */
  end(): void;
}

/** A query that has not come into the list of those that run, or does not look whether it was cancelled, is told again. */
const repeatMs = 500;

/** Ends queries that nobody waits for any more, or that take longer than they may. */
export class Reaper {
  readonly #kill: (tags: readonly string[]) => Promise<void>;
  readonly #condemned = new Set<string>();
  #isAtWork = false;

  /** @param kill cancels the queries with these tags, as far as they run. It must not throw */
  constructor(kill: (tags: readonly string[]) => Promise<void>) {
    this.#kill = kill;
  }

  /**
   * Watches over a query from now on.
   * @throws EngineError 210 when its client is gone already
   */
  watch(tag: string, { signal, maxMs }: Watch): Watched {
    if (signal?.aborted === true) throw gone();
    let isLate = false;
    const condemn = () => {
      this.#condemned.add(tag);
      void this.#work();
    };
    const expire = () => {
      isLate = true;
      condemn();
    };
    signal?.addEventListener('abort', condemn);
    const timer = maxMs === undefined ? undefined : setTimeout(expire, maxMs);
    return {
      explain: (error) => (isLate ? expired(maxMs) : error),
      end: () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', condemn);
        this.#condemned.delete(tag);
      },
    };
  }

  async #work(): Promise<void> {
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    while (this.#condemned.size > 0) {
      await this.#kill([...this.#condemned]);
      await delay(repeatMs);
    }
    this.#isAtWork = false;
  }
}

function gone(): EngineError {
  return new EngineError(210, 'NETWORK_ERROR', 'The client is gone');
}

function expired(maxMs = 0): EngineError {
  return new EngineError(
    159,
    'TIMEOUT_EXCEEDED',
    `Timeout exceeded: the query was stopped after ${maxMs} ms`,
  );
}

/**
 * Kinds of calls, from those that wait longest to those that wait least: reads of readers, reads of the owner, changes
 * of tables, inserts that bring their data, and KILL.
 */
const lanes = ['reader', 'read', 'change', 'write', 'control'] as const;
export type Lane = (typeof lanes)[number];

/** How many at once, and how many may wait. */
interface GateLimits {
  /**
   * Calls at once of each lane together with those of all lanes before it. A lane that has more than the one before it
   * thus has slots which that one can never take: slow reads keep no insert waiting, and nothing keeps KILL waiting.
   */
  readonly slots: Readonly<Record<Lane, number>>;
  /** Calls of each lane that may wait; one more is refused. */
  readonly queue: number;
}

/** How a call waits for its turn. */
export interface Patience {
  /** Ends the waiting: whoever asked is gone. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait, milliseconds. Without it there is none. */
  readonly waitMs?: number;
}

interface Waiter {
  readonly lane: Lane;
  readonly start: () => void;
}

/** First come, first served within a lane; a later lane passes an earlier one that waits for a slot. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #running: Record<Lane, number> = { reader: 0, read: 0, change: 0, write: 0, control: 0 };
  #waiting: Waiter[] = [];

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /**
   * Runs `call` when its turn comes.
   * @throws EngineError 202 when the queue is full or the turn does not come in time, 210 when nobody waits any more
   */
  async run<T>(lane: Lane, call: () => Promise<T>, patience: Patience = {}): Promise<T> {
    // Whoever lets the call in also counts it: between its turn and its start others may come.
    if (this.#isFree(lane)) this.#running[lane] += 1;
    else await this.#wait(lane, patience);
    try {
      return await call();
    } finally {
      this.#running[lane] -= 1;
      this.#startNext();
    }
  }

  #isFree(lane: Lane): boolean {
    let running = 0;
    return lanes.every((each, index) => {
      running += this.#running[each];
      return index < lanes.indexOf(lane) || running < this.#limits.slots[each];
    });
  }

  #wait(lane: Lane, { signal, waitMs }: Patience): Promise<void> {
    const before = this.#waiting.filter((waiter) => waiter.lane === lane).length;
    const limit = this.#limits.slots[lane];
    if (before >= this.#limits.queue) throw tooMany(`${limit} are running and ${before} are waiting`);
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        finish();
      };
      const waiter: Waiter = { lane, start: () => settle(resolve) };
      const leave = () => settle(() => reject(new EngineError(210, 'NETWORK_ERROR', 'The client is gone')));
      const refuse = () =>
        settle(() => reject(tooMany(`none of the ${limit} running queries ended within ${waitMs} ms`)));
      const timer = waitMs === undefined ? undefined : setTimeout(refuse, waitMs);
      this.#waiting.push(waiter);
      if (signal?.aborted === true) leave();
      else signal?.addEventListener('abort', leave);
    });
  }

  #startNext(): void {
    const next = this.#waiting.find(({ lane }) => this.#isFree(lane));
    if (next === undefined) return;
    this.#running[next.lane] += 1;
    next.start();
  }
}

function tooMany(what: string): EngineError {
  const message = `Too many simultaneous queries: ${what}. Try again later`;
  return new EngineError(202, 'TOO_MANY_SIMULTANEOUS_QUERIES', message, 503);
}
