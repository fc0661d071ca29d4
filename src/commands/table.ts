/** The table of commands. */
import { bench } from './bench.ts';
import { check } from './check.ts';
import { clickhouse } from './clickhouse.ts';
import { collect } from './collect.ts';
import type { Command } from './command.ts';
import { deadLetters } from './dead-letters.ts';
import { replay } from './replay.ts';
import { sql } from './sql.ts';
import { start } from './start.ts';
import { stream } from './stream.ts';
import { tail } from './tail.ts';
import { verify } from './verify.ts';

/** All commands, in the order of `--help`. */
export const commands: readonly Command[] = [
  start,
  collect,
  stream,
  clickhouse,
  check,
  verify,
  sql,
  tail,
  deadLetters,
  replay,
  bench,
];

/** Those that store: whatever they create is for their user alone. Others write what a user asks for, as a report. */
export const servers: ReadonlySet<Command> = new Set([start, collect, stream, clickhouse]);
