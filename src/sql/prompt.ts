/**
 * A prompt for statements: several lines up to a semicolon, with a history.
 *
 * What was typed at the prompt before: a file of its user, a line each. Without one the prompt works as well.
 */
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { createInterface } from 'node:readline';
import { messageOf } from '../errors.ts';
import { readPrivateFile, replacePrivateFile } from '../process/data-directory.ts';
import { runStatement, type SqlSession } from './run-statement.ts';
import { type Statement, splitStatements } from './split-statements.ts';

const prompts = { first: 'millrace> ', next: '       -> ' } as const;

/**
 * Reads and runs statements until Ctrl-D. Ctrl-C gives up the statement that is typed, or ends the one that runs. One
 * that fails is told, and the prompt goes on.
 * @param broken aborted when nobody sees the output any more
 * @throws whatever `broken` was aborted with
 */
export async function runPrompt(session: SqlSession, broken: AbortSignal): Promise<void> {
  const { output } = session;
  const path = historyFile(process.env);
  const terminal = createInterface({
    input: process.stdin,
    output,
    history: loadHistory(path),
    historySize: historyLines,
    removeHistoryDuplicates: true,
    prompt: prompts.first,
  });
  /** Lines that are no whole statement yet. */
  let typed = '';
  let running: AbortController | undefined;
  let lines: readonly string[] = [];
  let isOpen = true;
  terminal.on('close', () => {
    isOpen = false;
  });
  const ask = (before: string): void => {
    if (!isOpen) return;
    terminal.setPrompt(before === '' ? prompts.first : prompts.next);
    terminal.prompt();
  };
  terminal.on('history', (history) => {
    lines = history;
  });
  terminal.on('SIGINT', () => {
    if (running !== undefined) return running.abort();
    typed = '';
    output.write('^C\n');
    // Without this the text would be there again.
    terminal.write(null, { ctrl: true, name: 'e' });
    terminal.write(null, { ctrl: true, name: 'u' });
    ask(typed);
  });
  broken.addEventListener('abort', () => terminal.close());
  const run = async (statement: Statement): Promise<void> => {
    running = new AbortController();
    const { signal } = running;
    try {
      await runStatement(session, statement, AbortSignal.any([signal, broken]));
    } catch (error) {
      broken.throwIfAborted();
      process.stderr.write(signal.aborted ? 'stopped\n' : `${messageOf(error)}\n`);
    } finally {
      running = undefined;
    }
  };
  ask(typed);
  for await (const line of terminal) {
    typed += `${line}\n`;
    const { complete, rest, isData } = splitStatements(typed);
    for (const statement of complete) await run(statement);
    typed = rest?.text ?? '';
    // Data goes on to the end of a file; here a semicolon at the end of a line ends it.
    const end = isData ? /;\s*$/.exec(typed) : null;
    if (rest !== undefined && end !== null) {
      await run({ ...rest, text: typed.slice(0, end.index) });
      typed = '';
    }
    ask(typed);
  }
  output.write('\n');
  saveHistory(path, lines);
  broken.throwIfAborted();
}

function loadHistory(path: string): string[] {
  try {
    return readHistory(path);
  } catch (error) {
    process.stderr.write(`without the history: ${messageOf(error)}\n`);
    return [];
  }
}

function saveHistory(path: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  try {
    writeHistory(path, lines);
  } catch (error) {
    process.stderr.write(`the history is not kept: ${messageOf(error)}\n`);
  }
}

/** Lines that are kept. */
const historyLines = 1_000;
const maxBytes = 1024 ** 2;
/** Lines that may hold a secret are not kept; nor are those that begin with a space, as in a shell. */
const unkept = /^\s|identified|passw|secret|token|key\b/i;

/** `$XDG_STATE_HOME/millrace/sql-history`, else below `~/.local/state`. Source: XDG Base Directory Specification. */
function historyFile(env: NodeJS.ProcessEnv): string {
  const state = env.XDG_STATE_HOME ?? '';
  return join(isAbsolute(state) ? state : join(homedir(), '.local', 'state'), 'millrace', 'sql-history');
}

/**
 * The lines of the file, newest first.
 * @throws OperatorError when there is a file that others may read, or that cannot be read
 */
function readHistory(path: string): string[] {
  const text = readPrivateFile(path, maxBytes) ?? '';
  return text.split('\n').filter(Boolean).reverse();
}

/**
 * Replaces the file by these lines, newest first.
 * @throws Error when it cannot be written
 */
function writeHistory(path: string, lines: readonly string[]): void {
  const kept = lines.filter((line) => !unkept.test(line)).slice(0, historyLines);
  while (Buffer.byteLength(kept.join('\n')) >= maxBytes) kept.pop();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  replacePrivateFile(
    path,
    kept
      .reverse()
      .map((line) => `${line}\n`)
      .join(''),
  );
}
