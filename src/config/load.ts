/** Reads the configuration: flags, then environment, then file, then defaults. Reports all faults at once. */
import { readFileSync } from 'node:fs';
import { closest } from 'fastest-levenshtein';
import { parse as parseYaml } from 'yaml';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { type Config, type Option, type OptionKey, optionName, options, variableName } from './options.ts';

const keys = Object.keys(options) as OptionKey[];
const table: Readonly<Record<OptionKey, Option>> = options;
const prefix = 'MILLRACE_';
const fileSuffix = '_FILE';

/** Where values come from, the first one winning. */
interface Sources {
  /** Flags as given, by name without dashes: `kafka-brokers`; a flag without a value is `true`. */
  readonly flags: Readonly<Record<string, string | boolean>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Options that the command takes as flags. */
  readonly allowed: readonly OptionKey[];
}

/** A configuration and, for each option, where its value came from. */
interface LoadedConfig {
  readonly config: Config;
  readonly origins: Readonly<Record<OptionKey, 'flag' | 'environment' | 'file' | 'default'>>;
}

interface Found {
  readonly value: unknown;
  readonly origin: 'flag' | 'environment' | 'file' | 'default';
  /** As the user would find it: `--listen`, `MILLRACE_LISTEN`, `listen in millrace.yaml`. */
  readonly place: string;
}

/**
 * Parses all options.
 * @throws OperatorError exit 78, naming every fault
 */
export function loadConfig(sources: Sources): LoadedConfig {
  const faults: string[] = [];
  const flags = readFlags(sources, faults);
  const environment = readEnvironment(sources.env, faults);
  const file = readFile((flags.get('config') ?? environment.get('config'))?.value, faults);

  const values: Partial<Record<OptionKey, unknown>> = {};
  const origins: Partial<Record<OptionKey, Found['origin']>> = {};
  for (const key of keys) {
    const found = flags.get(key) ?? environment.get(key) ?? file.get(key) ?? defaultOf(key);
    origins[key] = found.origin;
    const result = table[key].schema.safeParse(found.value);
    if (result.success) values[key] = result.data;
    else
      for (const issue of result.error.issues)
        faults.push(`${found.place} ${describe(issue.message, table[key])}`);
  }
  if (faults.length > 0) {
    const list = faults.map((fault) => `  - ${fault}`).join('\n');
    throw new OperatorError(
      `the configuration has ${count(faults.length, 'fault')}:\n${list}`,
      exitCodes.configuration,
    );
  }
  return { config: values as Config, origins: origins as LoadedConfig['origins'] };
}

/** Values of the secrets, for whoever must not show them. A URL is one as a whole; its key alone is found by its form. */
export function secretsOf(config: Config): string[] {
  return keys.filter((key) => table[key].secret).map((key) => String(config[key] ?? ''));
}

function readFlags({ flags, allowed }: Sources, faults: string[]): Map<OptionKey, Found> {
  const found = new Map<OptionKey, Found>();
  for (const [name, value] of Object.entries(flags)) {
    const negated = name.startsWith('no-') ? name.slice(3) : undefined;
    const key = allowed.find((candidate) => [name, negated].includes(optionName(candidate)));
    const isElsewhere = keys.some((candidate) => [name, negated].includes(optionName(candidate)));
    if (key === undefined && isElsewhere) {
      faults.push(
        `--${name} is an option of other commands, not of this one: see its --help for the options it takes`,
      );
    } else if (key === undefined) {
      faults.push(
        unknown(`--${name}`, name, allowed.filter((k) => table[k].secret !== true).map(optionName), '--'),
      );
    } else if (table[key].secret) {
      faults.push(
        `--${name} is a secret: give it as ${variableName(key)} or ${variableName(key)}${fileSuffix}`,
      );
    } else if (value === true && table[key].placeholder !== '') {
      faults.push(`--${name} needs a value: --${name} ${table[key].placeholder}`);
    } else {
      const isNegation = optionName(key) !== name;
      if (isNegation && table[key].placeholder !== '')
        faults.push(`--${name} is not an option: --${negated} takes a value`);
      found.set(key, { value: isNegation ? 'false' : value, origin: 'flag', place: `--${name}` });
    }
  }
  return found;
}

function readEnvironment(env: Sources['env'], faults: string[]): Map<OptionKey, Found> {
  const found = new Map<OptionKey, Found>();
  const known = keys.map(variableName);
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(prefix) || value === undefined || ownVariables.has(name)) continue;
    const secret = keys.find((key) => table[key].secret && `${variableName(key)}${fileSuffix}` === name);
    if (secret !== undefined) {
      try {
        const text = readFileSync(value, 'utf8').trimEnd();
        // Nobody writes a file to say that there is no secret: its content has got lost.
        if (text === '') faults.push(`${name}: ${value} is empty`);
        found.set(secret, { value: text, origin: 'environment', place: name });
      } catch (error) {
        faults.push(`${name}: ${messageOf(error)}`);
      }
      continue;
    }
    const key = keys.find((candidate) => variableName(candidate) === name);
    if (key === undefined) faults.push(unknown(name, name, known, ''));
    else if (!found.has(key)) found.set(key, { value, origin: 'environment', place: name });
  }
  return found;
}

/** Variables that are not options: they steer tests and development. */
const ownVariables = new Set([
  'MILLRACE_CACHE_DIR',
  'MILLRACE_FAULT_POINT',
  'MILLRACE_REQUIRE_BROWSER',
  'MILLRACE_REQUIRE_KAFKA',
  'MILLRACE_REQUIRE_SANDBOX',
  'MILLRACE_WORKER',
]);

function readFile(path: unknown, faults: string[]): Map<OptionKey, Found> {
  const found = new Map<OptionKey, Found>();
  if (path === undefined) return found;
  let content: unknown;
  try {
    content = parseYaml(readFileSync(String(path), 'utf8'));
  } catch (error) {
    faults.push(`--config ${path}: ${messageOf(error)}`);
    return found;
  }
  if (content === null) return found;
  if (typeof content !== 'object' || Array.isArray(content)) {
    faults.push(`--config ${path}: must be a map of options, such as 'listen: 127.0.0.1:8080'`);
    return found;
  }
  for (const [name, value] of Object.entries(content)) {
    const key = keys.find((candidate) => optionName(candidate) === name && candidate !== 'config');
    const place = `${name} in ${path}`;
    if (key === undefined) faults.push(unknown(place, name, keys.map(optionName), ''));
    else if (table[key].secret)
      faults.push(
        `${place} is a secret: give it as ${variableName(key)} or ${variableName(key)}${fileSuffix}`,
      );
    else found.set(key, { value, origin: 'file', place });
  }
  return found;
}

function defaultOf(key: OptionKey): Found {
  return { value: table[key].default, origin: 'default', place: `--${optionName(key)}` };
}

function unknown(place: string, name: string, known: readonly string[], dashes: string): string {
  return `${place} is not an option here; the nearest one is ${dashes}${closest(name, [...known])}`;
}

/** A secret's fault must not show the value. */
function describe(message: string, { secret }: Option): string {
  return secret ? 'is not valid' : message;
}

function count(n: number, noun: string): string {
  return n === 1 ? `1 ${noun}` : `${n} ${noun}s`;
}
