/** Errors of ClickHouse about its tables that waiting does not mend: somebody has to change a setting. */
import { exitCodes, OperatorError } from '../errors.ts';
import { authenticationCodes, ClickHouseError } from './client.ts';

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
    'Check the types that the schema gives as "column": each must be one that ClickHouse takes within JSON. --schema points at it',
  ],
  [settingCodes, 'This ClickHouse is too old for Millrace; --clickhouse-url points at it'],
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
