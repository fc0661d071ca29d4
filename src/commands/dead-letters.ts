import { createClickHouse } from '../clickhouse/client.ts';
import {
  ClickHouseError,
  ClickHouseUnavailableError,
  describeRefusal,
  isMissingTable,
} from '../clickhouse/errors.ts';
import { findTables } from '../clickhouse/tables.ts';
import { type Config, type OptionKey, optionName } from '../config/options.ts';
import { listLetters } from '../dead-letters/list-letters.ts';
import type { DeadLetterFilter } from '../dead-letters/read-letters.ts';
import { replayLetters } from '../dead-letters/replay-letters.ts';
import { formatReplay, formatReplayJson } from '../dead-letters/replay-report.ts';
import { type ExitCode, exitCodes, OperatorError } from '../errors.ts';
import { printableJson, printableLines } from '../text.ts';
import { type Command, type CommandContext, clickhouseOptions } from './command.ts';
import { clickhouseClientOptions } from './open-buffer.ts';

/** Options that have a meaning for one of the two only. */
const listOptions: readonly OptionKey[] = ['limit'];
const replayOptions: readonly OptionKey[] = ['dryRun', 'skipDuplicatePaths', 'keepRaw'];

/**
 * `millrace dead-letters list|replay`. Exit codes: 0, also when there is nothing to do; 1 when `replay` leaves some
 * that are still refused, or that do not stay in `events`; 69 when ClickHouse or the tables are not there.
 */
export const deadLetters: Command = {
  arguments: ['<list|replay>'],
  options: [
    'partition',
    'offset',
    'code',
    'reason',
    'since',
    'until',
    ...listOptions,
    ...replayOptions,
    'json',
    ...clickhouseOptions,
    'dataDir',
    'logLevel',
    'config',
  ],
  exitCodes: { 1: 'failure, or ClickHouse still refuses some of the replayed dead letters' },
  examples: [
    'millrace dead-letters list',
    'millrace dead-letters list --since 1h --reason "reading path status" --limit 100 --json | jq -r .raw',
    'millrace dead-letters replay --dry-run',
    'millrace dead-letters replay --partition 0 --offset 1000-1999 --json',
  ],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const { config } = context;
  const action = actionOf(context);
  const clickhouse = createClickHouse(clickhouseClientOptions(config, ''));
  const { clickhouseDatabase: database, clickhouseCluster: cluster } = config;
  process.stdout.on('error', ignoreBrokenPipe);
  try {
    const tables = await findTables(clickhouse, { database, cluster });
    const options = { clickhouse, tables, filter: filterOf(config) };
    if (action === 'list') {
      const { limit, json } = config;
      await listLetters({
        ...options,
        limit,
        json,
        print: (text) => print(json ? printableJson(text) : printableLines(text)),
        note: (text) => process.stderr.write(`${printableLines(text)}\n`),
      });
      return exitCodes.ok;
    }
    const { keepRaw, dryRun, skipDuplicatePaths } = config;
    const how = { cluster, keepRaw, dryRun, skipDuplicatePaths, log: context.log };
    const result = await replayLetters({ ...options, ...how });
    await print(
      config.json
        ? printableJson(formatReplayJson(result, dryRun))
        : printableLines(formatReplay(result, dryRun)),
    );
    return result.refused.count + result.vanished === 0 ? exitCodes.ok : exitCodes.failure;
  } catch (error) {
    // The reader of the pipe, as head, has what it wanted.
    if (isBrokenPipe(error)) return exitCodes.ok;
    throw describe(error, action, config);
  } finally {
    process.stdout.off('error', ignoreBrokenPipe);
    await clickhouse.close();
  }
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

/** `print` rejects with it as well. */
function ignoreBrokenPipe(error: Error): void {
  if (!isBrokenPipe(error)) throw error;
}

function actionOf({ args, flags }: CommandContext): 'list' | 'replay' {
  const [action] = args;
  if (action !== 'list' && action !== 'replay') {
    throw new OperatorError(
      `'dead-letters' takes list or replay, not '${action}'. See millrace dead-letters --help`,
      exitCodes.usage,
    );
  }
  const foreign = action === 'list' ? replayOptions : listOptions;
  const misplaced = foreign.map(optionName).find((name) => name in flags);
  if (misplaced === undefined) return action;
  const other = action === 'list' ? 'replay' : 'list';
  throw new OperatorError(
    `--${misplaced} belongs to 'dead-letters ${other}', not to 'dead-letters ${action}'`,
    exitCodes.usage,
  );
}

function filterOf({ partition, code, reason, since, until, offset }: Config): DeadLetterFilter {
  return { partition, code, reason, since, until, offsets: offset };
}

/** Writes a line; resolves when the reader has taken it. */
function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${text}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

function describe(
  error: unknown,
  action: 'list' | 'replay',
  { clickhouseUrl, clickhouseDatabase }: Config,
): unknown {
  if (error instanceof ClickHouseUnavailableError) {
    const begun = action === 'replay' ? '. The next replay finishes what this one began' : '';
    const message = `${error.message}; check --clickhouse-url${begun}`;
    return new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
  if (!(error instanceof ClickHouseError)) return error;
  const message = isMissingTable(error)
    ? `database ${clickhouseDatabase} at ${clickhouseUrl.origin} has no tables of Millrace yet: ` +
      'start the streamer first (millrace start, or millrace stream), or check --clickhouse-database'
    : `ClickHouse at ${clickhouseUrl.origin} refuses the query: ${describeRefusal(error)}`;
  return new OperatorError(message, exitCodes.unavailable, { cause: error });
}
