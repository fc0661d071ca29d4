/**
 * The `--help` texts, made from the tables of commands and options.
 *
 * The forms that a command can be given in, as `bench`, `bench max` and `bench compare <A> <B>`.
 */
import { type Option, type OptionKey, optionName, options, variableName } from '../config/options.ts';
import { type Command, type CommandEntry, commonExitCodes } from './command.ts';

const width = 100;

/** Help of the program. */
export function formatHelp(commands: readonly CommandEntry[]): string {
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
    'MILLRACE_ and its name, and a key of the file given by --config. A flag overrides a',
    'variable, a variable overrides the file, and the file overrides the default.',
    '',
    ...formatExitCodes({}),
    'The --help of a command lists its other exit codes.',
  ].join('\n');
}

/** Object keys that are whole numbers come in ascending order. */
function formatExitCodes(own: Command['exitCodes']): string[] {
  const codes = Object.entries({ ...commonExitCodes, ...own });
  return wrap(`Exit codes: ${codes.map(([code, meaning]) => `${code} ${meaning}`).join(', ')}.`, width);
}

/** Help of one command. */
export function formatCommandHelp({ name, summary }: CommandEntry, command: Command): string {
  const usages = formsOf(command).map((form) => ['millrace', name, ...form, '[options]'].join(' '));
  return [
    /[.?]$/.test(summary) ? summary : `${summary}.`,
    '',
    ...usages.map((usage, i) => `${i === 0 ? 'Usage:' : '      '} ${usage}`),
    '',
    'Options:',
    ...command.options.flatMap((key) => formatOption(key, command)),
    '',
    'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
    ...formatExitCodes(command.exitCodes),
  ].join('\n');
}

function formatOption(key: OptionKey, { aliases = {} }: Command): string[] {
  const option: Option = options[key];
  const shorter = Object.keys(aliases).filter((alias) => aliases[alias] === key);
  const flags = [optionName(key), ...shorter].map((name) => `--${name}`).join(', ');
  const name = option.secret
    ? `${variableName(key)}, ${variableName(key)}_FILE`
    : `${flags} ${option.placeholder}`.trimEnd();
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

/** Its positional arguments, form by form. */
export function formsOf(command: Command): readonly (readonly string[])[] {
  return [command.arguments, ...(command.otherForms ?? [])];
}

/** Whether the arguments are of a form: as many, and its plain words as they stand there. */
export function matchesForm(form: readonly string[], args: readonly string[]): boolean {
  return form.length === args.length && form.every((name, i) => name.startsWith('<') || name === args[i]);
}

/** The forms for a message: `no arguments, or max, or compare <A> <B>`. */
export function describeForms(command: Command): string {
  return formsOf(command)
    .map((form) => (form.length === 0 ? 'no arguments' : form.join(' ')))
    .join(', or ');
}
