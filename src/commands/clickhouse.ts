import { readdirSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import type { Logger } from 'pino';
import { startEngine } from '../engine/server.ts';
import { messageOf } from '../errors.ts';
import { announceReady, stopGracefully } from '../process/lifecycle.ts';
import type { Command } from './command.ts';

/** A tenth of the CPU is still the engine's when others want it all (Linux, sched(7)). */
const engineNice = constants.priority.PRIORITY_BELOW_NORMAL;

/** `millrace clickhouse`: the embedded ClickHouse. */
export const clickhouse: Command = {
  name: 'clickhouse',
  summary: 'Run the embedded ClickHouse behind its HTTP interface',
  arguments: [],
  options: ['dataDir', 'clickhouseUrl', 'clickhouseUser', 'stopTimeout', 'logLevel', 'config'],
  examples: [
    'millrace clickhouse',
    "curl 'http://127.0.0.1:8123/' --data-binary 'SELECT version()'",
    'MILLRACE_CLICKHOUSE_PASSWORD=secret millrace clickhouse --clickhouse-url http://0.0.0.0:8123',
  ],
  async run({ config, log }) {
    const { hostname, port } = config.clickhouseUrl;
    const host = hostname.replace(/^\[|\]$/g, '');
    const { dataDir, clickhouseUser: user, clickhousePassword: password = '' } = config;
    if (password === '' && !isLoopback(host)) {
      log.warn(
        { host },
        'the embedded ClickHouse listens beyond this machine without a password: set MILLRACE_CLICKHOUSE_PASSWORD',
      );
    }
    yieldToOthers(log);
    const started = performance.now();
    const engine = await startEngine({ dataDir, host, port: Number(port || 80), user, password, log });
    const startMs = Math.round(performance.now() - started);
    stopGracefully(() => engine.close(), { log, timeoutMs: config.stopTimeout });
    log.info({ url: engine.url, dataDir, version: engine.version, startMs }, 'clickhouse is ready');
    announceReady({ url: engine.url });
    return undefined;
  },
};

/** Rows can wait, requests cannot: a collector on the same machine goes first. */
function yieldToOthers(log: Logger): void {
  try {
    for (const thread of ownThreads()) if (getPriority(thread) < engineNice) setPriority(thread, engineNice);
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'the priority of the embedded ClickHouse could not be lowered');
  }
}

/** On Linux each thread has a priority of its own and gives it to those that it starts; 0 is the whole process. */
function ownThreads(): number[] {
  return process.platform === 'linux' ? readdirSync('/proc/self/task').map(Number) : [0];
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}
