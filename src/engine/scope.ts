/** What applies to one request only: its database, settings and parameters. */
import { EngineError } from './error.ts';

/** Everything that a request brings beside its statement. */
export interface Scope {
  readonly database: string | undefined;
  readonly settings: ReadonlyMap<string, string>;
  /** Values of `{name:Type}`, each escaped as in TSV: what `param_name=` carries. */
  readonly params: ReadonlyMap<string, string>;
  /** Refuses writes, as ClickHouse does for GET. */
  readonly readonly: boolean;
}

/** A text as a literal of ClickHouse's SQL. */
export function quoteLiteral(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&').replaceAll('\0', '\\0')}'`;
}

/** A name as a quoted identifier. */
export function quoteName(name: string): string {
  return `\`${name.replace(/[\\`]/g, '\\$&').replaceAll('\0', '\\0')}\``;
}

const settingName = /^[A-Za-z_][\w.]*$/;

/**
 * The statements that put a fresh connection into `scope`; empty when there is nothing to set.
 * @throws EngineError when a name is not one that ClickHouse could know
 */
export function scopeStatements(scope: Scope): string {
  const statements: string[] = [];
  if (scope.database !== undefined) statements.push(`USE ${quoteName(scope.database)}`);
  const assignments: string[] = [];
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
  // Last, since it forbids what comes after it.
  const level = readonlyLevel(scope);
  if (level !== undefined) statements.push(`SET readonly = ${quoteLiteral(level)}`);
  return statements.join('; ');
}

function readonlyLevel(scope: Scope): string | undefined {
  const asked = scope.settings.get('readonly');
  if (scope.readonly && (asked === undefined || asked === '0')) return '2';
  return asked;
}
