import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { createClickHouse } from '../clickhouse/client.ts';
import type { Config } from '../config/options.ts';
import { type ExitCode, exitCodes, messageOf, OperatorError } from '../errors.ts';
import { runPrompt } from '../sql/prompt.ts';
import { runStatement, type SqlSession } from '../sql/run-statement.ts';
import { splitStatements } from '../sql/split-statements.ts';
import { type Command, type CommandContext, clickhouseOptions } from './command.ts';
import { clickhouseClientOptions } from './open-buffer.ts';

/**
 * `millrace sql`: asks as the user who may only read, unless `--clickhouse-user` names another. Exit codes: 1 when
 * ClickHouse refuses a statement, 2 for a file that cannot be read, 69 when nobody answers.
 */
export const sql: Command = {
  arguments: [],
  otherForms: [['<statement>']],
  options: [
    'file',
    'outputFormat',
    ...clickhouseOptions.filter((key) => key !== 'clickhouseCluster'),
    'dataDir',
    'logLevel',
    'config',
  ],
  aliases: { format: 'outputFormat' },
  exitCodes: {
    1: 'ClickHouse refused a statement, or its result was cut off',
    2: 'wrong usage, or a file that cannot be read',
  },
  examples: [
    'millrace sql "SELECT event, count() FROM events GROUP BY event ORDER BY 2 DESC"',
    'millrace sql "SELECT * FROM events" --format Parquet > events.parquet',
    'millrace sql --file report.sql --format CSVWithNames',
    'millrace sql --clickhouse-user default "OPTIMIZE TABLE events"',
    'millrace sql',
  ],
  run,
};

async function run({ config, args, flags }: CommandContext): Promise<ExitCode> {
  const { stdin, stdout } = process;
  if (args.length > 0 && config.file !== undefined)
    throw new OperatorError("'sql' takes a statement or --file, not both", exitCodes.usage);
  // Whoever names a user means that one, also when it is the one that others take by themselves.
  const role = 'clickhouse-user' in flags ? 'owner' : 'reader';
  const client = clickhouseClientOptions(config, config.clickhouseDatabase, role);
  const clickhouse = createClickHouse(client);
  const format = config.outputFormat ?? (stdout.isTTY ? 'PrettyCompact' : 'TabSeparatedWithNames');
  const session: SqlSession = { clickhouse, user: client.user, format, output: stdout };
  const broken = new AbortController();
  const onOutputError = (error: NodeJS.ErrnoException) => broken.abort(error);
  stdout.on('error', onOutputError);
  try {
    if (args.length === 0 && config.file === undefined && stdin.isTTY && stdout.isTTY) {
      await runPrompt(session, broken.signal);
    } else {
      await runAll(session, args[0] ?? (await readText(config.file ?? '-')), broken.signal);
    }
  } catch (error) {
    // The reader of the pipe, as head, has what it wanted.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return exitCodes.ok;
    throw error;
  } finally {
    stdout.off('error', onOutputError);
    await clickhouse.close();
  }
  return exitCodes.ok;
}

/** Up to the first that fails; where there are several, the message says which. */
async function runAll(session: SqlSession, text: string, signal: AbortSignal): Promise<void> {
  const { complete, rest } = splitStatements(text);
  const statements = rest === undefined ? complete : [...complete, rest];
  if (statements.length === 0) throw new OperatorError('there is no statement to run', exitCodes.usage);
  for (const [i, statement] of statements.entries()) {
    try {
      await runStatement(session, statement, signal);
    } catch (error) {
      if (statements.length === 1 || !(error instanceof OperatorError)) throw error;
      const place = `statement ${i + 1} of ${statements.length}, in line ${statement.line}`;
      throw new OperatorError(`${place}: ${error.message}`, error.exitCode, { cause: error });
    }
  }
}

/** @throws OperatorError exit 2 for what cannot be read, or is not UTF-8 */
async function readText(file: NonNullable<Config['file']>): Promise<string> {
  try {
    const bytes = file === '-' ? await buffer(process.stdin) : await readFile(file);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    const name = file === '-' ? 'standard input' : file;
    throw new OperatorError(`cannot read ${name}: ${messageOf(error)}`, exitCodes.usage, { cause: error });
  }
}
