/** Keeps a current picture of one topic: where its partitions are led, and whether Kafka can be reached. */
import type { Logger } from 'pino';
import { backOffMs, pause } from '../../time.ts';
import type { DependencyState } from '../buffer.ts';
import { type Address, BrokerLink, NotConnectedError, parseAddress } from './broker-link.ts';
import { codeOf, isKafkaTrouble, reasonOf } from './errors.ts';
import { type ClusterLayout, fetchLayout, type TopicLayout } from './messages.ts';
import { ensureTopic, type TopicSettings } from './topics.ts';

/** New partitions and a topic made anew are seen within this time. */
const refreshIntervalMs = 15_000;
const requestTimeoutMs = 5000;

/** What a cluster is opened with. */
interface ClusterOptions {
  /** Brokers to start from, `host:port`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Name of this client in the broker's logs and quotas. */
  readonly clientId: string;
  /** How to create the topic when it does not exist; it is not created when undefined. */
  readonly createTopic?: TopicSettings | undefined;
  readonly log: Logger;
}

/** Refreshes itself in the background: at once after a failure is reported, with back-off until it succeeds. */
export class Cluster {
  /** The topic as last seen; undefined until it was. */
  topic: TopicLayout | undefined;
  readonly name: string;
  readonly clientId: string;
  /** Called after each refresh that found another id or number of partitions. */
  onTopicChange: (() => void) | undefined;
  readonly #options: ClusterOptions;
  readonly #seeds: readonly Address[];
  readonly #stopping = new AbortController();
  #state: DependencyState;
  #known: readonly Address[] = [];
  #link: BrokerLink | undefined;
  #refreshing: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #isAskedToRefresh = false;
  readonly #running: Promise<void>;

  constructor(options: ClusterOptions) {
    this.name = options.topic;
    this.clientId = options.clientId;
    this.#options = options;
    this.#seeds = options.brokers.map(parseAddress);
    this.#state = { ok: false, detail: `connecting to Kafka at ${options.brokers.join(',')}` };
    this.#running = this.#keepFresh();
  }

  /** Whether the topic can be used now. */
  state(): DependencyState {
    return this.#state;
  }

  /** Asks for a refresh soon, in the background. */
  refreshSoon(): void {
    this.#isAskedToRefresh = true;
    this.#wake?.();
  }

  /** Refreshes now, or joins the refresh that runs. @throws Error when it fails: see {@link isKafkaTrouble} */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshOnce().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Refreshes at once, in the background. A failure is logged with the state. */
  hurry(): void {
    void this.refresh().catch((error: unknown) => {
      if (!isKafkaTrouble(error)) throw error;
    });
  }

  /** Sends a request to any broker, over the link that refreshes use. */
  any(): BrokerLink {
    return this.#anyLink();
  }

  /** Layout of other topics. */
  layoutOf(topics: string[]): Promise<ClusterLayout> {
    return fetchLayout(this.#anyLink(), topics);
  }

  /** A link of its own to a broker, for one purpose. */
  createLink(address: Address, timeoutMs: number, maxAnswerBytes?: number): BrokerLink {
    return new BrokerLink(address, {
      clientId: this.clientId,
      requestTimeoutMs: timeoutMs,
      maxAnswerBytes,
      onLost: () => this.refreshSoon(),
    });
  }

  /** Stops refreshing and drops the connection. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    this.#link?.close();
    await this.#running;
  }

  async #keepFresh(): Promise<void> {
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted; ) {
      this.#isAskedToRefresh = false;
      try {
        await this.refresh();
        failures = 0;
      } catch (error) {
        // Whoever made this cluster does not wait for it: what is no trouble of Kafka ends the process.
        if (!isKafkaTrouble(error)) throw error;
        failures++;
      }
      if (signal.aborted) return;
      if (failures > 0) await pause(backOffMs(failures), signal);
      else if (this.#isAskedToRefresh) await pause(backOffMs(0), signal);
      else await this.#sleepUntilWoken();
    }
  }

  async #sleepUntilWoken(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, refreshIntervalMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  async #refreshOnce(): Promise<void> {
    const { topic: name, brokers, createTopic } = this.#options;
    try {
      let layout = await fetchLayout(this.#anyLink(), [name]);
      if (!layout.topics.has(name) && createTopic !== undefined) {
        await this.#createTopic(createTopic);
        layout = await fetchLayout(this.#anyLink(), [name]);
      }
      this.#known = layout.brokers;
      this.#accept(layout.topics.get(name));
    } catch (error) {
      if (!isKafkaTrouble(error)) throw error;
      this.#link?.close();
      this.#link = undefined;
      const isAnswer = codeOf(error) !== undefined;
      const problem = isAnswer ? 'Kafka refuses' : `Kafka cannot be reached at ${brokers.join(',')}`;
      const advice = isAnswer ? '' : '; check --kafka-brokers';
      this.refreshSoon();
      this.#setState({ ok: false, detail: `${problem}: ${reasonOf(error)}${advice}` });
      throw error;
    }
    if (!this.#state.ok) throw new NotConnectedError(this.#state.detail);
  }

  #accept(layout: TopicLayout | undefined): void {
    const { log } = this.#options;
    const { topic: before, name } = this;
    if (layout === undefined) {
      const detail = `topic ${name} does not exist in Kafka; create it, or check --kafka-topic and --kafka-create-topic`;
      this.#setState({ ok: false, detail });
      return;
    }
    this.topic = layout;
    if (layout.leaders.every((leader) => leader === undefined)) {
      this.#setState({ ok: false, detail: `no partition of Kafka topic ${name} has a leader` });
      return;
    }
    this.#setState({ ok: true });
    if (before?.id === layout.id && before.leaders.length === layout.leaders.length) return;
    const found = { topic: name, topicId: layout.id, partitions: layout.leaders.length };
    if (before !== undefined && before.id !== layout.id)
      log.warn(found, `topic ${name} was deleted and created again`);
    else log.info(found, `Kafka topic ${name} has ${layout.leaders.length} partitions`);
    this.onTopicChange?.();
  }

  async #createTopic(settings: TopicSettings): Promise<void> {
    const { topic, clientId, log } = this.#options;
    const address = this.#link?.address;
    if (address === undefined) return;
    const brokers = [`${address.host}:${address.port}`];
    const { created } = await ensureTopic({ brokers, topic, clientId }, settings);
    if (created) log.info({ topic, ...settings }, `created Kafka topic ${topic}`);
    // A topic is named in the metadata a moment after the controller made it.
    await pause(100, this.#stopping.signal);
  }

  /** The same link until it fails; then one to another broker, at random, known ones as well as seeds. */
  #anyLink(): BrokerLink {
    if (this.#link !== undefined) return this.#link;
    const candidates = [...this.#seeds, ...this.#known];
    const address = candidates[Math.floor(Math.random() * candidates.length)];
    if (address === undefined || this.#stopping.signal.aborted)
      throw new NotConnectedError('the Kafka client is closed');
    this.#link = new BrokerLink(address, {
      clientId: this.clientId,
      requestTimeoutMs,
      onLost: () => this.refreshSoon(),
    });
    return this.#link;
  }

  /** Logs what changed: once for each change, not for each try. */
  #setState(state: DependencyState): void {
    const before = this.#state;
    this.#state = state;
    if (this.#stopping.signal.aborted) return;
    if (!state.ok && (before.ok || before.detail !== state.detail)) this.#options.log.warn(state.detail);
    if (state.ok && !before.ok) this.#options.log.info(`connected to Kafka, topic ${this.name}`);
  }
}
