/**
 * Queries that run: how one is found again and ended. chDB gives each an id of its own and offers no way to cancel one,
 * but a setting of its connection is seen in `system.processes`, and KILL QUERY finds it there.
 */
import { type CanonicalToken, readCanonical } from './canonical.ts';
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
