/** One instance of everything for one scenario: kept processes, a ledger, and the audit at the end. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TopicView } from '../../../src/buffer/buffer.ts';
import { narrowSchema } from '../narrow-schema.ts';
import { runProgram, temporaryDirectory, until } from '../program.ts';
import {
  type AuditOptions,
  compare,
  describeFinding,
  type Finding,
  readDelivered,
  selectText,
} from './audit.ts';
import { type Load, type LoadOptions, startLoad } from './generator.ts';
import { type Kept, keep } from './keeper.ts';
import { Ledger } from './ledger.ts';
import type { Random } from './random.ts';
import { type Place, readSerials, viewTopic } from './topic-view.ts';

/** What a rig is made of. */
export interface RigOptions {
  /** Name of the scenario in the report. */
  readonly name: string;
  readonly random: Random;
  /** Brokers, for a rig on Kafka; the embedded log without. */
  readonly brokers?: string;
  readonly partitions?: number;
  /** Directory of the embedded log; a temporary one by default. The engine has its own. */
  readonly dataDir?: string;
}

/** How to start one of its processes. */
export interface LaunchOptions {
  readonly flags?: readonly string[];
  /** Environment of launch number `launch`, from 1. */
  readonly env?: (launch: number) => NodeJS.ProcessEnv;
  readonly restartMs?: number;
}

/** A process of the rig. */
export interface Member extends Kept {
  readonly url: string;
}

/** How an audit may differ, and whether the program's own `verify` runs, too. */
export interface RigAuditOptions extends AuditOptions {
  readonly isVerified?: boolean;
  readonly timeoutMs?: number;
  /** The ledger to compare with, when there are several. */
  readonly ledger?: Ledger;
}

/** An instance of everything. */
export class Rig {
  readonly name: string;
  readonly random: Random;
  readonly dataDir: string;
  readonly topic = `faults-${randomUUID()}`;
  readonly ledger: Ledger;
  /** Everything that was started. */
  readonly members: Member[] = [];
  /** What streamers are told; the engine itself unless a proxy stands in between. */
  clickhouseForStreamers = '';
  /** Brokers that the collector is told; another address when a proxy stands in between. */
  brokersForCollector: string | undefined;
  engine: Member | undefined;
  #brokers: string | undefined;
  readonly #partitions: number;
  readonly #directory = temporaryDirectory();
  readonly #undo: (() => unknown)[] = [];

  constructor({ name, random, brokers, partitions = 4, dataDir }: RigOptions) {
    this.name = name;
    this.random = random;
    this.#brokers = brokers;
    this.brokersForCollector = brokers;
    this.#partitions = partitions;
    this.dataDir = dataDir ?? `${this.#directory.path}/data`;
    this.ledger = this.createLedger();
  }

  /** Consumer group of the streamers. */
  get group(): string {
    return this.#brokers === undefined ? 'millrace' : this.topic;
  }

  get #place(): Place {
    return { dataDir: this.dataDir, brokers: this.#brokers, topic: this.topic, group: this.group };
  }

  /** Address of ClickHouse itself. */
  get clickhouse(): string {
    if (this.engine === undefined) throw new Error('no engine was started');
    return this.engine.url;
  }

  createLedger(): Ledger {
    return new Ledger(`${this.#directory.path}/receipts-${randomUUID()}.ndjson`);
  }

  /** Uses this Kafka, for a broker that was started after the rig was made. */
  useBrokers(brokers: string): void {
    this.#brokers = brokers;
    this.brokersForCollector = brokers;
  }

  /** Engine, streamer and collector, ready. */
  async startAll(): Promise<{ engine: Member; streamer: Member; collector: Member }> {
    const engine = await this.startEngine();
    const [streamer, collector] = await Promise.all([this.startStreamer(), this.startCollector()]);
    return { engine, streamer, collector };
  }

  /** The embedded ClickHouse. */
  async startEngine(options: LaunchOptions = {}): Promise<Member> {
    const url = `http://127.0.0.1:${await findPort()}`;
    // Who may log in is tested elsewhere; here streamers and proxies have directories of their own.
    const flags = [
      '--data-dir',
      `${this.#directory.path}/engine`,
      '--clickhouse-url',
      url,
      '--no-clickhouse-auth',
    ];
    this.engine = await this.#start('engine', url, ['clickhouse', ...flags], options);
    if (this.clickhouseForStreamers === '') this.clickhouseForStreamers = url;
    return this.engine;
  }

  /** Everything under the supervision of `millrace start`; the URL is the collector's. */
  async startTogether(): Promise<Member> {
    const [collect, stream, clickhouse] = [await findPort(), await findPort(), await findPort()];
    const listen = ['--listen', `127.0.0.1:${collect}`, '--stream-listen', `127.0.0.1:${stream}`];
    const url = `http://127.0.0.1:${clickhouse}`;
    this.clickhouseForStreamers = url;
    const flags = [...listen, ...this.streamerFlags(), '--batch-age', '100ms', '--no-clickhouse-auth'];
    flags.push('--schema', narrowSchema);
    const all = await this.#start('start', `http://127.0.0.1:${collect}`, ['start', ...flags], {});
    this.engine = Object.create(all, { url: { value: url } });
    return all;
  }

  /** A collector. */
  async startCollector(options: LaunchOptions = {}): Promise<Member> {
    const port = await findPort();
    const flags = ['--listen', `127.0.0.1:${port}`, ...this.bufferFlags(this.brokersForCollector)];
    flags.push('--schema', narrowSchema);
    return await this.#start('collector', `http://127.0.0.1:${port}`, ['collect', ...flags], options);
  }

  /** A streamer; batches are small and young, so that there are many. */
  async startStreamer(options: LaunchOptions = {}): Promise<Member> {
    const member = await this.launchStreamer(options);
    await member.ready();
    return member;
  }

  /** A streamer that may not become ready. */
  async launchStreamer(options: LaunchOptions = {}): Promise<Member> {
    const port = await findPort();
    const flags = ['--stream-listen', `127.0.0.1:${port}`, '--batch-age', '100ms', ...this.streamerFlags()];
    flags.push('--schema', narrowSchema);
    return this.#launch('streamer', `http://127.0.0.1:${port}`, ['stream', ...flags], options);
  }

  /** Starts a load on these collectors, 1,000 events a second unless told, noted in the rig's ledger. */
  load(urls: readonly string[], options: Partial<LoadOptions> = {}): Load {
    return startLoad({ urls, rate: 1_000, random: this.random, ledger: this.ledger, ...options });
  }

  /** Flags by which a streamer finds buffer and ClickHouse. */
  streamerFlags(clickhouse = this.clickhouseForStreamers): string[] {
    const session = this.#brokers === undefined ? [] : ['--kafka-session-timeout', '6s'];
    const group = ['--kafka-group', this.group];
    return [...this.bufferFlags(), ...group, ...session, '--clickhouse-url', clickhouse];
  }

  /** Flags of the buffer for both ends of it. */
  bufferFlags(brokers = this.#brokers): string[] {
    if (brokers === undefined)
      return [
        '--data-dir',
        this.dataDir,
        '--kafka-topic',
        this.topic,
        '--log-partitions',
        String(this.#partitions),
      ];
    return [
      ...['--buffer', 'kafka', '--kafka-brokers', brokers, '--kafka-topic', this.topic],
      ...['--kafka-partitions', String(this.#partitions), '--data-dir', this.dataDir],
    ];
  }

  /** Ends of the buffer and commits, as of now. */
  async view(): Promise<TopicView> {
    return await viewTopic(this.#place);
  }

  /** Waits until everything in the buffer is committed as delivered. */
  async delivered(timeoutMs = 60_000): Promise<TopicView> {
    try {
      return await until(
        'delivery of everything',
        async () => {
          const view = await this.view();
          const isDone = view.partitions.every(({ end, start, commit }) => end === (commit?.offset ?? start));
          return isDone && view;
        },
        timeoutMs,
      );
    } catch (error) {
      const logs = this.members.map(({ kind, program }) => `${kind}: ${program.output.stderr.slice(-1_500)}`);
      const view = JSON.stringify(await this.view().catch(String));
      throw new Error(`${this.name}: ${error}\n${view}\n${logs.join('\n')}`, { cause: error });
    }
  }

  /** Waits until what is in the buffer now is committed as delivered; more may come meanwhile. */
  async deliveredSoFar(timeoutMs = 60_000): Promise<void> {
    const now = await this.view();
    await until(
      'delivery of what was there',
      async () => {
        const { partitions } = await this.view();
        return now.partitions.every(
          ({ end }, i) => end === 0 || (partitions[i]?.commit?.offset ?? -1) >= end,
        );
      },
      timeoutMs,
    );
  }

  /**
   * Waits until everything is delivered, compares, prints the result in one line.
   * @throws Error when anything is missing, twice, or made up
   */
  async audit(options: RigAuditOptions = {}): Promise<Finding> {
    const finding = await this.check(options);
    const line = describeFinding(this.name, this.random.seed, finding);
    process.stdout.write(`${line}\n`);
    if (finding.faults.length > 0) throw new Error(`${line}\n${finding.faults.join('\n')}`);
    return finding;
  }

  /** Waits until everything is delivered and compares; `verify` of the program must come to the same. */
  async check({ isVerified = true, timeoutMs, ...options }: RigAuditOptions = {}): Promise<Finding> {
    const ledger = options.ledger ?? this.ledger;
    await ledger.close();
    const view = await this.delivered(timeoutMs);
    const delivered = await readDelivered(this.clickhouse, view.topicId);
    const records = await readSerials(this.#place);
    const finding = compare(ledger, delivered, { ...view, records }, options);
    const isWell = finding.faults.length === 0;
    if (isVerified && isWell && ledger.path !== undefined) await this.#verify(ledger.path);
    return finding;
  }

  /** Runs SQL and gives its result as text. */
  select(sql: string): Promise<string> {
    return selectText(this.clickhouse, sql);
  }

  /** What has to be undone at the end, in reverse order. */
  defer(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** Ends everything that was started and removes its data. */
  async remove(): Promise<void> {
    await Promise.all(this.members.map((member) => member.end()));
    for (const undo of this.#undo.reverse()) await undo();
    this.#directory.remove();
  }

  async #start(kind: string, url: string, args: readonly string[], options: LaunchOptions): Promise<Member> {
    const member = this.#launch(kind, url, args, options);
    await member.ready();
    return member;
  }

  #launch(kind: string, url: string, args: readonly string[], options: LaunchOptions): Member {
    const { flags = [], ...rest } = options;
    const kept = keep({ kind, args: [...args, ...flags], ...rest });
    const member: Member = Object.defineProperty(kept as Member, 'url', { value: url });
    this.members.push(member);
    return member;
  }

  /** The program's own check of the same receipts: it must come to the same. */
  async #verify(receipts: string): Promise<void> {
    const kafka = this.#brokers === undefined ? [] : ['--buffer', 'kafka', '--kafka-brokers', this.#brokers];
    const { code, stdout, stderr } = await runProgram([
      ...['verify', '--receipts', receipts, '--content', '--wait', '60s', '--json'],
      ...['--data-dir', this.dataDir],
      ...[...kafka, '--kafka-topic', this.topic, '--kafka-group', this.group],
      ...['--clickhouse-url', this.clickhouse],
    ]);
    if (code !== 0) throw new Error(`${this.name}: millrace verify ended with ${code}:\n${stdout}${stderr}`);
  }
}

const firstPort = 20_000;
const portCount = 12_000;

/**
 * A free port below those that the system gives to outgoing connections: a process that is killed and started
 * again finds its port free.
 */
async function findPort(): Promise<number> {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * portCount);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Pauses for a random time between the two, milliseconds. */
export async function pause(random: Random, fromMs: number, toMs: number): Promise<void> {
  await sleep(random.integer(fromMs, toMs));
}
