/** The table of commands. */
import type { CommandEntry } from './command.ts';

/** All commands, in the order of `--help`. */
export const commands: readonly CommandEntry[] = [
  {
    name: 'start',
    summary: 'Run everything on this machine: collector, streamer and embedded ClickHouse',
    stores: true,
    load: async () => (await import('./start.ts')).start,
  },
  {
    name: 'collect',
    summary: 'Accept events over HTTP and store them in the buffer',
    stores: true,
    load: async () => (await import('./collect.ts')).collect,
  },
  {
    name: 'stream',
    summary: 'Deliver events from the buffer to ClickHouse, each exactly once',
    stores: true,
    load: async () => (await import('./stream.ts')).stream,
  },
  {
    name: 'clickhouse',
    summary: 'Run the embedded ClickHouse behind its HTTP interface',
    stores: true,
    load: async () => (await import('./clickhouse.ts')).clickhouse,
  },
  {
    name: 'check',
    summary: 'Check the configuration and every dependency, changing nothing without --create',
    load: async () => (await import('./check.ts')).check,
  },
  {
    name: 'verify',
    summary: 'Compare the buffer with ClickHouse: is every record there, exactly once?',
    load: async () => (await import('./verify.ts')).verify,
  },
  {
    name: 'sql',
    summary: 'Query ClickHouse: a statement, a file of statements, standard input, or a prompt',
    load: async () => (await import('./sql.ts')).sql,
  },
  {
    name: 'tail',
    summary: 'Print the newest rows of table events as they arrive, one JSON object per line',
    load: async () => (await import('./tail.ts')).tail,
  },
  {
    name: 'dead-letters',
    summary: 'List the events that ClickHouse refused, or replay them into table events after a fix',
    load: async () => (await import('./dead-letters.ts')).deadLetters,
  },
  {
    name: 'replay',
    summary:
      'Post a file of events (NDJSON or an access log, also gzipped; - is standard input) to a collector',
    load: async () => (await import('./replay.ts')).replay,
  },
  {
    name: 'bench',
    summary: 'Load a collector at a rate: latency, cost, freshness, and whether every event is stored once',
    load: async () => (await import('./bench.ts')).bench,
  },
];
