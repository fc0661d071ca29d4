#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { closest } from 'fastest-levenshtein';
/** Entry: finds the command, loads the configuration, runs it, and turns what goes wrong into an exit code. */
import type { Command } from './commands/command.ts';
import { describeForms, formatCommandHelp, formatHelp, formsOf, matchesForm } from './commands/help.ts';
import { commands } from './commands/table.ts';
import { loadConfig, secretsOf } from './config/load.ts';
import { type Config, optionName, options } from './config/options.ts';
import { exitCodes, OperatorError } from './errors.ts';
import { createLogger } from './logger.ts';
import { endWithParent } from './process/lifecycle.ts';
import { printableLines } from './text.ts';
import { version } from './version.ts';

try {
  const exitCode = await main(process.argv.slice(2));
  if (exitCode !== undefined) process.exitCode = exitCode;
} catch (error) {
  if (!(error instanceof OperatorError)) throw error;
  process.stderr.write(`millrace: ${printableLines(error.message)}\n`);
  process.exit(error.exitCode);
}

async function main(argv: readonly string[]) {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') return print(version);
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const topic = commands.find((entry) => entry.name === rest[0]);
    print(topic === undefined ? formatHelp(commands) : formatCommandHelp(topic, await topic.load()));
    return name === undefined ? exitCodes.usage : exitCodes.ok;
  }
  const entry = commands.find((candidate) => candidate.name === name);
  if (entry === undefined) throw unknownCommand(name);
  if (entry.stores) {
    // For their child processes, too.
    process.umask(0o077);
    endWithParent();
  }
  const command = await entry.load();
  const { flags, args } = parseFlags(command, rest);
  if (flags.help === true || flags.h === true) return print(formatCommandHelp(entry, command));
  const { config } = loadConfig({ flags, env: process.env, allowed: command.options });
  if (!formsOf(command).some((form) => matchesForm(form, args))) throw wrongArguments(name, command, args);
  const log = await openLog(name, config);
  return await command.run({ config, args, flags, log });
}

async function openLog(name: string, config: Config) {
  const { logLevel, sentryDsn: dsn } = config;
  const secrets = secretsOf(config);
  if (dsn === undefined) return createLogger(name, logLevel, { secrets });
  const { createErrorReporter } = await import('./error-reports.ts');
  const reporter = createErrorReporter({ dsn, service: `millrace-${name}`, secrets });
  return createLogger(name, logLevel, { secrets, reporter });
}

/** Leaves unknown flags in, for the configuration to report them beside all other faults. */
function parseFlags(command: Command, argv: readonly string[]) {
  const { aliases = {} } = command;
  const names = [
    ...command.options.map((key) => [optionName(key), key] as const),
    ...Object.entries(aliases),
  ];
  const known = Object.fromEntries(
    names.map(([name, key]) => {
      const isBoolean = options[key].placeholder === '';
      return [name, { type: isBoolean ? ('boolean' as const) : ('string' as const) }];
    }),
  );
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { ...known, help: { type: 'boolean', short: 'h' } },
    strict: false,
    allowPositionals: true,
  });
  const flags: Record<string, string | boolean> = {};
  for (const [name, value] of Object.entries(values)) {
    const alias = Object.hasOwn(aliases, name) ? aliases[name] : undefined;
    const flag = alias === undefined ? name : optionName(alias);
    if (typeof value === 'string' || typeof value === 'boolean') flags[flag] = value;
  }
  return { flags, args: positionals };
}

function unknownCommand(name: string): OperatorError {
  const nearest = closest(
    name,
    commands.map((entry) => entry.name),
  );
  return new OperatorError(
    `there is no command '${name}'; the nearest one is '${nearest}'. See millrace --help`,
    exitCodes.usage,
  );
}

function wrongArguments(name: string, command: Command, args: readonly string[]): OperatorError {
  const wanted = describeForms(command);
  const verdict = args.length === 0 ? `needs ${wanted}` : `takes ${wanted}, not '${args.join(' ')}'`;
  const message = `'${name}' ${verdict}. See millrace ${name} --help`;
  return new OperatorError(message, exitCodes.usage);
}

function print(text: string) {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  return exitCodes.ok;
}
