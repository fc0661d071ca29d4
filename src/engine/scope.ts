/** What applies to one request only: who asks, its database, settings and parameters. */
import { defaultSeconds, limits, roles } from './access.ts';
import { EngineError } from './error.ts';
import type { Role } from './policy.ts';

/** Everything that a request brings beside its statement. */
export interface Scope {
  readonly role: Role;
  readonly database: string | undefined;
  readonly settings: ReadonlyMap<string, string>;
  /** Values of `{name:Type}`, each escaped as in TSV: what `param_name=` carries. */
  readonly params: ReadonlyMap<string, string>;
  /** Refuses writes, as ClickHouse does for GET. */
  readonly readonly: boolean;
  /** By which the client knows its query. */
  readonly queryId: string;
}

/**
 * The setting that carries the tag of a query, running.ts. It names an application to servers that `remote()` connects
 * to, which nobody may use here; and no request may set it, so that no client can pass for another one.
 */
export const tagSetting = 'chdb_client_name';

/** The scope of what the engine asks itself. */
export const ownScope: Scope = {
  role: 'owner',
  database: undefined,
  settings: new Map(),
  params: new Map(),
  readonly: true,
  queryId: '',
};

/** A text as a literal of ClickHouse's SQL. */
export function quoteLiteral(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&').replaceAll('\0', '\\0')}'`;
}

/** A name as a quoted identifier. */
function quoteName(name: string): string {
  return `\`${name.replace(/[\\`]/g, '\\$&').replaceAll('\0', '\\0')}\``;
}

const settingName = /^[A-Za-z_][\w.]*$/;

/**
 * The statements that put a fresh connection into `scope`. The rights go first, so that nothing of the request is
 * executed with more; what forbids changes goes last, since it forbids what comes after it.
 * @param tag what the query is found by while it runs
 * @throws EngineError when a name is not one that ClickHouse could know
 */
export function scopeStatements(scope: Scope, tag = ''): string {
  const statements: string[] = [];
  const assignments = tag === '' ? [] : [`${tagSetting} = ${quoteLiteral(tag)}`];
  if (scope.role === 'reader') {
    statements.push(`SET ROLE ${roles.reader}`);
    assignments.push(`max_memory_usage = ${limits.reader.get('max_memory_usage')}`);
    assignments.push(`max_execution_time = ${defaultSeconds.reader}`);
  }
  if (scope.database !== undefined) statements.push(`USE ${quoteName(scope.database)}`);
  for (const [name, value] of scope.settings) {
    if (!settingName.test(name)) throw new EngineError(115, 'UNKNOWN_SETTING', `Unknown setting '${name}'`);
    if (name !== 'readonly') assignments.push(`${name} = ${quoteLiteral(value)}`);
  }
  for (const [name, value] of scope.params) {
    if (!/^\w+$/.test(name)) {
      throw new EngineError(36, 'BAD_ARGUMENTS', `Invalid name of a query parameter: '${name}'`);
    }
    assignments.push(`param_${name} = ${quoteLiteral(value)}`);
  }
  if (assignments.length > 0) statements.push(`SET ${assignments.join(', ')}`);
  const level = readonlyLevel(scope);
  if (level > 0) statements.push(`SET readonly = ${level}`);
  return statements.join('; ');
}

/**
 * 0: anything; 1: reads; 2: reads, and settings may change. A request can forbid itself more, never allow itself more.
 * @throws EngineError 72 for anything but these three
 */
function readonlyLevel({ settings, role, readonly }: Scope): number {
  const asked = settings.get('readonly') ?? '0';
  if (!/^[012]$/.test(asked)) {
    throw new EngineError(72, 'CANNOT_PARSE_NUMBER', `Setting readonly is 0, 1 or 2`);
  }
  const level = Number(asked);
  return level === 0 && (readonly || role === 'reader') ? 2 : level;
}
