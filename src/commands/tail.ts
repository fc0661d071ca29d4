import { once } from 'node:events';
import { createClickHouse } from '../clickhouse/client.ts';
import {
  authenticationCodes,
  ClickHouseError,
  ClickHouseUnavailableError,
  describeRefusal,
  isMissingTable,
} from '../clickhouse/errors.ts';
import type { Config } from '../config/options.ts';
import { type ExitCode, exitCodes, OperatorError } from '../errors.ts';
import { printableJson } from '../printable.ts';
import { formatRow, tailRows } from '../tail/tail-rows.ts';
import type { Command, CommandContext } from './command.ts';
import { clickhouseClientOptions } from './from-config.ts';
import { clickhouseOptions } from './shared-options.ts';

const pollMs = 500;

/** Prints the newest rows, then those that arrive, until stopped. */
export const tail: Command = {
  arguments: [],
  options: [
    'limit',
    'follow',
    'filter',
    ...clickhouseOptions.filter((key) => key !== 'clickhouseCluster'),
    'dataDir',
    'logLevel',
    'config',
  ],
  examples: [
    'millrace tail',
    'millrace tail --limit 100 --no-follow',
    'millrace tail --filter "os = \'linux\' AND status >= 500"',
    'millrace tail | jq .data.path',
  ],
  run,
};

async function run({ config }: CommandContext): Promise<ExitCode> {
  const clickhouse = createClickHouse(clickhouseClientOptions(config, config.clickhouseDatabase, 'reader'));
  const controller = new AbortController();
  const stop = () => controller.abort();
  const onOutputError = (error: NodeJS.ErrnoException) => {
    // The reader of the pipe, as head, has what it wanted.
    if (error.code !== 'EPIPE') throw error;
    stop();
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.stdout.on('error', onOutputError);
  const { limit, follow, filter } = config;
  let isStarted = false;
  try {
    const pages = tailRows(clickhouse, { limit, follow, filter, pollMs, signal: controller.signal });
    for await (const rows of pages) {
      isStarted = true;
      await print(printableJson(rows.map((row) => `${formatRow(row)}\n`).join('')), controller.signal);
    }
  } catch (error) {
    if (!controller.signal.aborted) throw describe(error, config, isStarted);
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    await clickhouse.close();
  }
  return exitCodes.ok;
}

/** Writes, and waits until the reader has caught up. */
async function print(text: string, signal: AbortSignal): Promise<void> {
  if (text === '' || process.stdout.write(text)) return;
  await once(process.stdout, 'drain', { signal });
}

function describe(error: unknown, config: Config, isStarted: boolean): unknown {
  const { clickhouseUrl, clickhouseDatabase: database, filter } = config;
  if (error instanceof ClickHouseUnavailableError) {
    return new OperatorError(`${error.message}; check --clickhouse-url`, exitCodes.unavailable, {
      cause: error,
    });
  }
  if (!(error instanceof ClickHouseError)) return error;
  if (isMissingTable(error)) {
    const message =
      `there is no table events in database ${database} at ${clickhouseUrl.origin} yet: ` +
      'start the streamer first (millrace start, or millrace stream), or check --clickhouse-database';
    return new OperatorError(message, exitCodes.unavailable, { cause: error });
  }
  if (filter !== undefined && !isStarted && !isRefusal(error)) {
    return new OperatorError(`ClickHouse does not take --filter: ${error.message}`, exitCodes.usage, {
      cause: error,
    });
  }
  return new OperatorError(
    `ClickHouse at ${clickhouseUrl.origin} refuses the query: ${describeRefusal(error)}`,
    exitCodes.unavailable,
    { cause: error },
  );
}

/** Whether the user is refused (wrong password, no such user, no right), which no filter brings about. */
function isRefusal({ code }: ClickHouseError): boolean {
  return code === 497 || authenticationCodes.includes(code);
}
