/**
 * What ClickHouse says in its errors, and what somebody has to do about them.
 *
 * What can be read out of ClickHouse's words about an insert, in which it quotes the data.
 *
 * Errors of ClickHouse about its tables that waiting does not mend: somebody has to change a setting.
 */
import { exitCodes, OperatorError } from '../errors.ts';

/**
 * ClickHouse answered with an exception. What it says of an insert quotes the data that was sent. So the message of such
 * an error, which ends up in logs and status pages, has no more than code, name and column; {@link detail} has the rest.
 */
export class ClickHouseError extends Error {
  override readonly name = 'ClickHouseError';
  /** ClickHouse's error code, as 27 for CANNOT_PARSE_INPUT_ASSERTION_FAILED; 0 when it named none. */
  readonly code: number;
  /** What a person can do about a user who is not let in; not for the answers to others, since it names files. */
  readonly loginHint: string | undefined;
  readonly #detail: string;

  /** `detail`: ClickHouse's own words, where the message is not. */
  constructor(code: number, message: string, detail: string = message, loginHint?: string) {
    super(message);
    this.code = code;
    this.#detail = detail;
    this.loginHint = authenticationCodes.includes(code) ? loginHint : undefined;
  }

  /** ClickHouse's own words. They may quote events: for those who may read the tables. */
  get detail(): string {
    return this.#detail;
  }
}

/**
 * Who may not come in: UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, and
 * AUTHENTICATION_FAILED, which newer servers send for all of them.
 * Source of the names: src/Common/ErrorCodes.cpp of ClickHouse.
 */
export const authenticationCodes: readonly number[] = [192, 193, 194, 195, 516];

/** ClickHouse gave no answer: whether the statement ran is unknown. */
export class ClickHouseUnavailableError extends Error {
  override readonly name = 'ClickHouseUnavailableError';
}

/** Who may come in, but not do this: READONLY, DATABASE_ACCESS_DENIED, QUERY_IS_PROHIBITED, ACCESS_DENIED. Source of all names: as of {@link authenticationCodes}. */
const accessCodes = [164, 291, 392, 497];

/**
 * What no table can be made of. Nothing but the types of the schema varies in a statement of Millrace, so these
 * are about a `column`. Seen on 26.7 for types that are unknown, cut off, have wrong arguments or cannot be within
 * JSON: BAD_ARGUMENTS, NUMBER_OF_ARGUMENTS_DOESNT_MATCH, ILLEGAL_TYPE_OF_ARGUMENT, UNKNOWN_TYPE, SYNTAX_ERROR,
 * UNKNOWN_AGGREGATE_FUNCTION, ARGUMENT_OUT_OF_BOUND, EMPTY_DATA_PASSED, UNEXPECTED_AST_STRUCTURE,
 * SUSPICIOUS_TYPE_FOR_LOW_CARDINALITY. By their names: ILLEGAL_COLUMN, UNKNOWN_IDENTIFIER, TYPE_MISMATCH,
 * SUPPORT_IS_DISABLED, DATA_TYPE_CANNOT_BE_USED_IN_TABLES, ILLEGAL_SYNTAX_FOR_DATA_TYPE,
 * DATA_TYPE_CANNOT_HAVE_ARGUMENTS, DATA_TYPE_CANNOT_BE_USED_IN_KEY.
 */
const schemaCodes = [36, 42, 43, 50, 62, 63, 69, 92, 223, 455, 44, 47, 53, 344, 370, 377, 378, 549];

/** UNKNOWN_SETTING. */
const settingCodes = [115];

/** CLUSTER_DOESNT_EXIST. */
const clusterCodes = [701];

const advices: readonly (readonly [codes: readonly number[], advice: string])[] = [
  [
    authenticationCodes,
    'Check the user and the password: --clickhouse-user and MILLRACE_CLICKHOUSE_PASSWORD',
  ],
  [
    accessCodes,
    'Grant the user what is missing, or choose another user or database: --clickhouse-user, --clickhouse-database',
  ],
  [
    schemaCodes,
    'Check the types that the schema gives as "column": each must be one that ClickHouse accepts within JSON. Check --schema',
  ],
  [settingCodes, 'This ClickHouse is too old for Millrace; check --clickhouse-url'],
  [clusterCodes, 'Check the name of the cluster: --clickhouse-cluster'],
];

/**
 * The error for a person, exit 78, when ClickHouse refuses for good to let Millrace in or to make the tables;
 * undefined when trying again can help.
 */
export function explainPermanent(error: unknown): OperatorError | undefined {
  if (!(error instanceof ClickHouseError)) return undefined;
  const advice = error.loginHint ?? adviceFor(error);
  if (advice === undefined) return undefined;
  const message = `ClickHouse refuses: ${error.message.slice(0, 1_000)}\n${advice}`;
  return new OperatorError(message, exitCodes.configuration, { cause: error });
}

function adviceFor({ code, message }: ClickHouseError): string | undefined {
  // The embedded one has no replicated tables; elsewhere a grant may leave them out.
  if (accessCodes.includes(code) && message.includes('ReplicatedMergeTree')) {
    return 'Tables are replicated with --clickhouse-cluster: leave it out, or grant the user what is missing';
  }
  return advices.find(([codes]) => codes.includes(code))?.[1];
}

/** What ClickHouse answered, for a person: with where the password came from when that is the fault. */
export function describeRefusal({ message, loginHint }: ClickHouseError): string {
  return loginHint === undefined ? message : `${message}\n${loginHint}`;
}

/** ClickHouse's UNKNOWN_TABLE and UNKNOWN_DATABASE. */
const notThere = [60, 81];

/** Whether ClickHouse answered that a table, or the whole database, is not there. */
export function isMissingTable(error: unknown): boolean {
  return error instanceof ClickHouseError && notThere.includes(error.code);
}

/** Words that name no path and quote the event at their end, where it could pass for one. */
const quote =
  /^(?:Code: \d+\. DB::Exception: )?(?:Cannot insert data into JSON column: )?(?:Cannot parse JSON object|Duplicate path)/;
/** The last one: a value that is quoted before it may hold anything. */
const place = /^[\s\S]*\(while reading path ([^)]+)\)/;
const errorName = /\(([A-Z][A-Z0-9_]{2,60})\)(?: \(version [^()]*(?:\([^()]*\))?[^()]*\))?\s*$/;

/** ClickHouse names the path of `data` where it could not go on: `(while reading path status)`; else empty. */
export function columnOf(message: string): string {
  return quote.test(message) ? '' : (place.exec(message)?.[1] ?? '');
}

/** Code, name and column, as `Code: 117 (INCORRECT_DATA), column score`: no word of the data. */
export function summarise(code: number, message: string): string {
  const name = errorName.exec(message)?.[1];
  const column = columnOf(message);
  // The name of a typed path is that of a property of the schema; anything else is not worth a risk.
  const isName = /^[\w.-]{1,64}$/.test(column);
  return `Code: ${code}${name === undefined ? '' : ` (${name})`}${isName ? `, column ${column}` : ''}`;
}
