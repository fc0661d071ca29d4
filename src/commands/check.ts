import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type ClickHouse, createClickHouse } from '../clickhouse/client.ts';
import { explainPermanent } from '../clickhouse/errors.ts';
import type { TablesOptions } from '../clickhouse/table-definitions.ts';
import { planTables } from '../clickhouse/tables.ts';
import type { Config } from '../config/options.ts';
import { formatAddress } from '../config/types.ts';
import { type ExitCode, exitCodes, messageOf, OperatorError } from '../errors.ts';
import { findOpenEntries } from '../process/data-directory.ts';
import { isOwnHost } from '../process/hosts.ts';
import { findSandbox } from '../process/sandbox.ts';
import { loadSchema } from '../schema/schema.ts';
import { printableLines } from '../text.ts';
import { bufferOptions, type Command, clickhouseOptions, collectorOptions } from './command.ts';
import { checkOutage, checkTopic, clickhouseClientOptions, tablesOptions } from './open-buffer.ts';

/** What one step of the check found. */
interface Finding {
  /** `ok`, `todo` (missing: Millrace would make it, or the text says who does), or `fault`. */
  readonly kind: 'ok' | 'todo' | 'fault';
  readonly text: string;
  readonly exitCode?: ExitCode;
}

const minFreeBytes = 1024 ** 3;

/** `millrace check`. */
export const check: Command = {
  arguments: [],
  options: [
    ...collectorOptions,
    ...bufferOptions,
    ...clickhouseOptions,
    'keepRaw',
    'maxDynamicPaths',
    'clickhouseSandbox',
    'embeddedClickhouse',
    'create',
    'logLevel',
    'config',
  ],
  examples: ['millrace check', 'millrace check --buffer kafka --kafka-brokers 10.0.0.1:9092 --create'],
  async run({ config }) {
    checkOutage(config);
    const schema = loadSchema(config.schema);
    report({ kind: 'ok', text: `schema ${schema.file}: ${schema.columns.length} typed columns` });
    const tables = tablesOptions(config, schema);
    const findings = [
      await checkBuffer(config),
      ...(await checkSandbox(config)),
      ...(await checkClickHouse(config, tables)),
    ];
    const failed = findings.filter((finding) => report(finding) && finding.kind === 'fault');
    return failed[0]?.exitCode ?? (failed.length > 0 ? exitCodes.unavailable : exitCodes.ok);
  },
};

function report({ kind, text }: Finding): true {
  process.stdout.write(`${{ ok: 'ok    ', todo: 'todo  ', fault: 'FAULT ' }[kind]}${printableLines(text)}\n`);
  return true;
}

async function checkBuffer(config: Config): Promise<Finding> {
  if (config.buffer === 'embedded') return checkDataDirectory(config.dataDir);
  try {
    const { isMissing, isNew, partitions, leaderless } = await checkTopic(config, config.create);
    const topic = `topic ${config.kafkaTopic} of ${config.kafkaBrokers.map(formatAddress).join(',')}`;
    if (isNew) return { kind: 'ok', text: `done: create ${topic} with ${count(partitions)}` };
    if (isMissing) return { kind: 'todo', text: `create ${topic} with ${count(config.kafkaPartitions)}` };
    if (leaderless > 0)
      return { kind: 'fault', text: `${topic}: ${leaderless} of ${count(partitions)} without a leader` };
    return { kind: 'ok', text: `${topic} has ${count(partitions)}` };
  } catch (error) {
    return { kind: 'fault', text: messageOf(error) };
  }
}

function count(partitions: number): string {
  return partitions === 1 ? '1 partition' : `${partitions} partitions`;
}

function checkDataDirectory(dataDir: string): Finding {
  const path = resolve(dataDir);
  let existing = path;
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK);
    const { bavail, bsize } = statfsSync(existing);
    if (bavail * bsize < minFreeBytes)
      return { kind: 'fault', text: `${path} has less than 1 GiB free; check --data-dir` };
    const open = existing === path ? findOpenEntries(path) : [];
    if (open.length > 0)
      return {
        kind: 'todo',
        text: `remove the permissions of group and others from ${open.join(', ')}, which they can read now`,
      };
    return { kind: 'ok', text: `data directory ${path} is writable` };
  } catch (error) {
    if (error instanceof OperatorError)
      return { kind: 'fault', text: error.message, exitCode: error.exitCode };
    return {
      kind: 'fault',
      text: `the data directory cannot be written: ${messageOf(error)}; check --data-dir`,
    };
  }
}

/** What would confine the embedded ClickHouse, where there may be one. */
async function checkSandbox(config: Config): Promise<Finding[]> {
  if (!config.embeddedClickhouse || !isOwnHost(config.clickhouseUrl.hostname)) return [];
  try {
    const { kind, confines, advice } = await findSandbox(config.clickhouseSandbox);
    const name = 'the sandbox of the embedded ClickHouse';
    if (kind !== 'none') return [{ kind: 'ok', text: `${name} is ${kind}: ${confines}` }];
    return [{ kind: 'todo', text: `${name} is none: ${advice}` }];
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return [{ kind: 'fault', text: error.message, exitCode: error.exitCode }];
  }
}

async function checkClickHouse(config: Config, tables: TablesOptions): Promise<Finding[]> {
  let clickhouse: ClickHouse | undefined;
  try {
    clickhouse = createClickHouse({ ...clickhouseClientOptions(config, ''), timeoutMs: 10_000 });
    const [server] = await clickhouse.query<{ version: string }>('SELECT version() AS version');
    const reached: Finding = {
      kind: 'ok',
      text: `ClickHouse ${server?.version} at ${clickhouse.url.origin}`,
    };
    const changes = (await planTables(clickhouse, tables)).filter(({ isNeeded }) => isNeeded);
    if (changes.length === 0) return [reached, { kind: 'ok', text: 'the tables fit the schema' }];
    if (!config.create)
      return [reached, ...changes.map(({ description }): Finding => ({ kind: 'todo', text: description }))];
    for (const { sql } of changes) await clickhouse.execute(sql);
    return [
      reached,
      ...changes.map(({ description }): Finding => ({ kind: 'ok', text: `done: ${description}` })),
    ];
  } catch (thrown) {
    const error = explainPermanent(thrown) ?? thrown;
    if (error instanceof OperatorError)
      return [{ kind: 'fault', text: error.message, exitCode: error.exitCode }];
    return [{ kind: 'fault', text: `ClickHouse: ${messageOf(error)}; check --clickhouse-url` }];
  } finally {
    await clickhouse?.close();
  }
}
