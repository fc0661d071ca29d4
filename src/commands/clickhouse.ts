import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Logger } from 'pino';
import { ensurePasswords, type Password, readerUser } from '../clickhouse/credentials.ts';
import type { Config } from '../config/options.ts';
import type { Account } from '../engine/auth.ts';
import { launchEngine } from '../engine/launch.ts';
import { type ExitCode, exitCodes, messageOf, OperatorError } from '../errors.ts';
import { endChild } from '../process/children.ts';
import { isLoopback } from '../process/hosts.ts';
import { announceReady, stopGracefully } from '../process/lifecycle.ts';
import { findSandbox, type Sandbox } from '../process/sandbox.ts';
import { type Command, engineOptions } from './command.ts';

/** `millrace clickhouse`: the embedded ClickHouse. */
export const clickhouse: Command = {
  arguments: [],
  options: [
    'dataDir',
    'clickhouseUrl',
    'clickhouseDatabase',
    'clickhouseUser',
    'clickhousePassword',
    ...engineOptions,
    'stopTimeout',
    'logLevel',
    'config',
  ],
  examples: [
    'millrace clickhouse',
    'millrace sql "SELECT version()"',
    'millrace clickhouse --clickhouse-url http://0.0.0.0:8123 --clickhouse-hosts clickhouse.internal',
  ],
  async run({ config, log }) {
    const engine = await prepareEngine(config, log);
    const child = await engine.start();
    const exited = once(child, 'exit');
    const ready = once(child, 'message');
    await Promise.race([ready, exited]);
    if (child.exitCode !== null || child.signalCode !== null) return exitCodeOf(child);
    const [message] = await ready;
    let isStopping = false;
    stopGracefully(
      () => {
        isStopping = true;
        return endChild(child, { isReady: true, timeoutMs: config.stopTimeout + 2_000 });
      },
      { log, timeoutMs: config.stopTimeout + 5_000 },
    );
    void exited.then(() => {
      if (!isStopping) process.exit(exitCodeOf(child));
    });
    const { url } = message as { url: string };
    log.info(
      { url, sandbox: engine.sandbox.kind, confines: engine.sandbox.confines },
      'clickhouse is running',
    );
    announceReady({ url });
    return undefined;
  },
};

/** The embedded ClickHouse, ready to be started, as often as it must be. */
export interface PreparedEngine {
  readonly sandbox: Sandbox;
  /** Starts its process. */
  start(): Promise<ChildProcess>;
}

/**
 * Finds out how the embedded ClickHouse is to run: who may log in, and what confines it.
 * @throws OperatorError exit 78 when it would be open to others without a password
 */
export async function prepareEngine(config: Config, log: Logger): Promise<PreparedEngine> {
  const { hostname, port } = config.clickhouseUrl;
  const host = hostname.replace(/^\[|\]$/g, '');
  const accounts = accountsOf(config, host);
  if (!config.clickhouseAuth) {
    log.warn(
      'the embedded ClickHouse treats everybody as its owner: every program and every user of this machine can read, change and remove all rows (--no-clickhouse-auth)',
    );
  }
  const sandbox = await findSandbox(config.clickhouseSandbox);
  if (sandbox.kind === 'none') log.warn(`the embedded ClickHouse runs without a sandbox: ${sandbox.advice}`);
  const start = async () => {
    const child = await launchEngine({
      dataDir: config.dataDir,
      databases: [config.clickhouseDatabase],
      host,
      port: Number(port || 80),
      accounts,
      hosts: config.clickhouseHosts,
      origins: config.clickhouseOrigins,
      logLevel: log.level,
      stopTimeoutMs: config.stopTimeout,
      sandbox,
    });
    child.on('error', (err) => log.error({ err }, `the embedded ClickHouse: ${messageOf(err)}`));
    if (child.pid !== undefined) return child;
    throw new OperatorError('the embedded ClickHouse could not be started', exitCodes.unavailable);
  };
  return { sandbox, start };
}

function accountsOf(config: Config, host: string): Account[] {
  const { clickhouseAuth, clickhouseUser: user } = config;
  if (!clickhouseAuth && !isLoopback(host)) {
    throw new OperatorError(
      `--no-clickhouse-auth would let anyone who reaches ${host} read and remove all rows: it is allowed on loopback addresses only. ` +
        'Leave it out, or listen on 127.0.0.1 with --clickhouse-url',
      exitCodes.configuration,
    );
  }
  const passwords = clickhouseAuth ? ensurePasswords(config) : undefined;
  if (passwords?.owner.text === '' || passwords?.reader.text === '') {
    throw new OperatorError(
      'the password of the embedded ClickHouse is set but empty: leave MILLRACE_CLICKHOUSE_PASSWORD out to have one generated, or give --no-clickhouse-auth',
      exitCodes.configuration,
    );
  }
  return [
    { role: 'owner', user, ...lockOf(passwords?.owner) },
    { role: 'reader', user: readerUser, ...lockOf(passwords?.reader) },
  ];
}

function lockOf(password: Password | undefined): Pick<Account, 'passwordHash' | 'isGenerated'> {
  if (password === undefined) return { passwordHash: undefined, isGenerated: false };
  const passwordHash = createHash('sha256').update(password.text).digest('hex');
  return { passwordHash, isGenerated: password.isGenerated };
}

function exitCodeOf({ exitCode }: ChildProcess): ExitCode {
  return (
    Object.values(exitCodes).find((known) => known === exitCode && known !== exitCodes.ok) ??
    exitCodes.failure
  );
}
