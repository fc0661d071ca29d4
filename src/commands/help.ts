/** The `--help` texts, made from the tables of commands and options. */
import { type Option, type OptionKey, optionName, options, variableName } from '../config/options.ts';
import type { Command } from './command.ts';

const width = 100;

/** Help of the program. */
export function formatHelp(commands: readonly Command[]): string {
  const longest = Math.max(...commands.map(({ name }) => name.length));
  const list = commands.map(({ name, summary }) => `  ${name.padEnd(longest)}  ${summary}`);
  return [
    'Millrace collects events over HTTP and delivers them to ClickHouse, each exactly once.',
    '',
    'Usage: millrace <command> [options]',
    '',
    ...list,
    '',
    'millrace <command> --help shows the options of a command. Each option is also a variable,',
    'MILLRACE_ and its name, and a key of the file given by --config. A flag comes before a',
    'variable, a variable before the file, the file before the default.',
    '',
    exitCodeHelp,
  ].join('\n');
}

const exitCodeHelp = [
  'Exit codes: 0 ok, 1 failure, 2 wrong usage, 69 a dependency is unavailable, 78 a fault in the',
  'configuration, 98 loss found, 99 a threshold missed.',
].join('\n');

/** Help of one command. */
export function formatCommandHelp(command: Command): string {
  const usage = ['millrace', command.name, ...command.arguments, '[options]'].join(' ');
  return [
    `${command.summary}.`,
    '',
    `Usage: ${usage}`,
    '',
    'Options:',
    ...command.options.flatMap(formatOption),
    '',
    'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
    exitCodeHelp,
  ].join('\n');
}

function formatOption(key: OptionKey): string[] {
  const option: Option = options[key];
  const name = option.secret
    ? `${variableName(key)}, ${variableName(key)}_FILE`
    : `--${optionName(key)} ${option.placeholder}`.trimEnd();
  const fallback =
    option.default === undefined || option.default === '' ? '' : ` Default: ${option.default}.`;
  return [`  ${name}`, ...wrap(option.doc + fallback, width - 8).map((line) => `        ${line}`)];
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
