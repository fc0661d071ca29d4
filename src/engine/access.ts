/**
 * Users, rights and limits of the engine: its configuration files. Rights are an allow-list that ClickHouse itself
 * enforces; what no right covers is judged by policy.ts.
 */
import { mkdir } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { prepareDataDirectory, replacePrivateFile } from '../process/data-directory.ts';
import type { Role } from './policy.ts';
import type { Limits } from './settings.ts';

/** Roles in ClickHouse. Every connection is that of one user, who has both and takes on one. */
export const roles = { owner: 'millrace_owner', reader: 'millrace_reader' } as const;

/** Where the engine's files are. */
export interface EngineFiles {
  /** ClickHouse's own data. */
  readonly data: string;
  /** Data of running inserts. */
  readonly inserts: string;
  /** Where `Disk('backups', …)` writes. */
  readonly backups: string;
  readonly config: string;
  readonly users: string;
}

/** Files of the engine in a data directory. */
function filesIn(dataDir: string): EngineFiles {
  const at = resolve(dataDir);
  return {
    data: join(at, 'clickhouse'),
    inserts: join(at, 'clickhouse.inserts'),
    backups: join(at, 'backups'),
    config: join(at, 'clickhouse.config.xml'),
    users: join(at, 'clickhouse.users.xml'),
  };
}

/**
 * Makes the engine's directories and writes its configuration.
 * @param databases those of the tables, beside `default`
 * @throws OperatorError exit 69 when the data directory cannot be used, 78 when it is not for this user alone or has a
 * symbolic link in it
 */
export async function prepareFiles(dataDir: string, databases: readonly string[]): Promise<EngineFiles> {
  const files = filesIn(prepareDataDirectory(dataDir));
  try {
    for (const path of [files.data, files.inserts, files.backups]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
    }
    replacePrivateFile(files.users, usersXml(databases));
    replacePrivateFile(files.config, configXml(files));
  } catch (cause) {
    throw new OperatorError(
      `the embedded ClickHouse cannot use the data directory ${resolve(dataDir)}: ${messageOf(cause)}`,
      exitCodes.unavailable,
      { cause },
    );
  }
  return files;
}

const gibibyte = 1024 ** 3;

/**
 * Most memory that the engine may use, bytes. A result that is not streamed counts as memory of all, whatever limits its
 * query has, and one of more than 4 GiB would end the process, since a Buffer of Node.js takes no more.
 */
const maxMemory = 4 * gibibyte;

/** Memory that the engine may use in all, bytes: half of what the machine or the container has, up to 4 GiB. */
function memoryLimit(): number {
  const constrained = process.constrainedMemory();
  const total = constrained > 0 && constrained < totalmem() ? constrained : totalmem();
  return Math.min(maxMemory, Math.max(gibibyte, Math.floor(total / 2)));
}

/**
 * What a query of each role gets at most: bytes of memory, seconds, bytes of temporary files, threads. The owner's
 * inserts and repairs get more than somebody who looks around.
 */
export const limits: Readonly<Record<Role, Limits>> = {
  owner: new Map([
    ['max_memory_usage', Math.floor(memoryLimit() / 2)],
    ['max_execution_time', 3_600],
    ['max_threads', Math.max(4, availableParallelism())],
    ['max_final_threads', Math.max(4, availableParallelism())],
    ['max_insert_threads', Math.max(4, availableParallelism())],
    ['max_result_bytes', gibibyte],
    ['max_query_size', 64 * 1024 ** 2],
  ]),
  reader: new Map([
    ['max_memory_usage', Math.floor(memoryLimit() / 4)],
    ['max_execution_time', 600],
    ['max_threads', Math.max(4, availableParallelism())],
    ['max_final_threads', Math.max(4, availableParallelism())],
    ['max_insert_threads', Math.max(4, availableParallelism())],
    ['max_result_bytes', gibibyte / 4],
    ['max_query_size', 64 * 1024 ** 2],
  ]),
};

/** Seconds that a query may take unless its request says otherwise, within {@link limits}. */
export const defaultSeconds: Readonly<Record<Role, number>> = { owner: 600, reader: 60 };

/** Temporary files of all queries together, bytes. */
const temporaryBytes = 16 * gibibyte;

/** Without a file of ours the engine reads any `config.xml` of the working directory. */
function configXml(files: EngineFiles): string {
  return `<clickhouse>
  <users_config>${escapeXml(files.users)}</users_config>
  <access_control_improvements>
    <table_engines_require_grant>true</table_engines_require_grant>
  </access_control_improvements>
  <storage_configuration><disks>
    <backups><type>local</type><path>${escapeXml(files.backups)}/</path></backups>
  </disks></storage_configuration>
  <backups><allowed_disk>backups</allowed_disk></backups>
  <mark_cache_size>268435456</mark_cache_size>
  <primary_index_cache_size>268435456</primary_index_cache_size>
  <max_server_memory_usage>${memoryLimit()}</max_server_memory_usage>
  <max_temporary_data_on_disk_size>${temporaryBytes}</max_temporary_data_on_disk_size>
</clickhouse>
`;
}

/** What the owner may do with the tables. Not: FETCH, FREEZE and ATTACH of parts, definers, policies, dictionaries. */
const ownerRights = [
  'SHOW, SELECT, INSERT, OPTIMIZE, TRUNCATE, BACKUP',
  'CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP DATABASE, DROP TABLE, DROP VIEW',
  'ALTER UPDATE, ALTER DELETE, ALTER COLUMN, ALTER INDEX, ALTER PROJECTION, ALTER CONSTRAINT, ALTER STATISTICS',
  'ALTER TTL, ALTER MATERIALIZE TTL, ALTER SETTINGS, ALTER ORDER BY, ALTER SAMPLE BY, ALTER MODIFY COMMENT',
  'ALTER MOVE PARTITION, ALTER VIEW MODIFY QUERY',
];

/** Settings that name files and hosts, or hold expressions that no check of a statement would see. */
const constantSettings = `additional_result_filter additional_table_filters allow_introspection_functions
  format_protobuf_use_autogenerated_schema format_capn_proto_use_autogenerated_schema
  allow_experimental_eval_table_function default_view_definer dialect format_avro_schema_registry_url format_schema
  format_schema_source format_template_resultset format_template_row http_response_headers implicit_table_at_top_level
  input_format_record_errors_file_path output_format_schema rename_files_after_processing url_base`.split(
  /\s+/,
);

/**
 * One user, since the engine lets a connection be no other, with two roles: a connection for a reader gives up that of
 * the owner before anything of the request runs. All grants are of the roles.
 */
function usersXml(databases: readonly string[]): string {
  const on = [...new Set(['default', ...databases])].map((name) => `${quoteDatabase(name)}.*`);
  const each = (rights: readonly string[]) =>
    on.flatMap((tables) => rights.map((right) => `GRANT ${right} ON ${tables}`));
  const anywhere = [
    'GRANT SELECT ON system.*',
    'GRANT SELECT ON information_schema.*',
    'GRANT CREATE TEMPORARY TABLE ON *.*',
  ];
  const owner = [
    ...each(ownerRights),
    ...anywhere,
    'GRANT KILL QUERY ON *.*',
    'GRANT TABLE ENGINE ON MergeTree',
  ];
  const reader = [...each(['SELECT']), 'GRANT CREATE TEMPORARY TABLE ON *.*'];
  const constraints = [
    ...constantSettings.map((name) => `<${name}><const/></${name}>`),
    ...[...limits.owner].map(([name, limit]) => `<${name}><max>${limit}</max></${name}>`),
  ];
  return `<clickhouse>
  <profiles><default>
    <max_memory_usage>${limits.owner.get('max_memory_usage')}</max_memory_usage>
    <max_execution_time>${defaultSeconds.owner}</max_execution_time>
    <max_query_size>${limits.owner.get('max_query_size')}</max_query_size>
    <allow_introspection_functions>0</allow_introspection_functions>
    <calculate_text_stack_trace>0</calculate_text_stack_trace>
    <format_protobuf_use_autogenerated_schema>0</format_protobuf_use_autogenerated_schema>
    <format_capn_proto_use_autogenerated_schema>0</format_capn_proto_use_autogenerated_schema>
    <input_format_values_interpret_expressions>0</input_format_values_interpret_expressions>
    <input_format_values_deduce_templates_of_expressions>0</input_format_values_deduce_templates_of_expressions>
    <constraints>${constraints.join('')}</constraints>
  </default></profiles>
  <quotas><default/></quotas>
  <roles>
    <${roles.owner}>${grantsXml(owner)}</${roles.owner}>
    <${roles.reader}>${grantsXml(reader)}</${roles.reader}>
  </roles>
  <users><default>
    <password/>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    ${grantsXml([`GRANT ${roles.owner}, ${roles.reader}`])}
  </default></users>
</clickhouse>
`;
}

/** `name*` stands for all whose names begin so. Source: wildcard grants of ClickHouse, 24.10 and later. */
function quoteDatabase(name: string): string {
  return /^\w+\*$/.test(name) ? name : `\`${name.replace(/[\\`]/g, '\\$&')}\``;
}

function grantsXml(grants: readonly string[]): string {
  return `<grants>${grants.map((grant) => `<query>${escapeXml(grant)}</query>`).join('')}</grants>`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
