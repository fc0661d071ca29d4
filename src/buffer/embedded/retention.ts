/**
 * Removes delivered blocks that are old, or too many. What a known group has not delivered stays, whatever
 * its age: then the log fills up and says so.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { escalateInvariant, messageOf } from '../../errors.ts';
import type { Environment } from './environment.ts';
import { type BlockKey, decodeKey, keyFrom } from './log-blocks.ts';
import {
  readDelivered,
  readPartition,
  readRetentionTime,
  readTotals,
  writePartition,
  writeRetentionTime,
  writeTotals,
} from './open-log.ts';

/** What {@link removeDelivered} may remove. */
interface RemovalLimits {
  /** Blocks whose newest record was received before this, milliseconds since the epoch. */
  readonly olderThanMs: number;
  /** Younger ones too, oldest first, while the log uses more bytes than this. */
  readonly targetBytes: number;
}

const intervalMs = 10_000;
/** Blocks removed in one transaction: 256 take a millisecond or two of the event loop and of the write lock. */
const maxBlocks = 256;
/** Between two such transactions, so that a long clean-up leaves most of the time to appends. */
const pauseMs = 5;
const keysAtOnce = 32;

/**
 * Removes what `limits` allow, within a transaction: up to 256 whole blocks, oldest first.
 * @returns whether more may be left to remove
 */
export function removeDelivered(
  environment: Environment,
  partitions: number,
  limits: RemovalLimits,
): { more: boolean } {
  const delivered = readDelivered(environment, partitions);
  if (delivered === undefined) return { more: false };
  const heads = delivered.map((offset, partition) => new PartitionHead(environment, partition, offset));
  let { usedBytes, appended } = readTotals(environment);
  let removed = 0;
  for (; removed < maxBlocks; removed++) {
    const head = oldest(heads);
    const next = head?.next;
    if (head === undefined || next === undefined) break;
    if (next.newestMs >= limits.olderThanMs && usedBytes <= limits.targetBytes) break;
    head.remove();
    usedBytes -= next.storedBytes;
  }
  if (removed > 0) {
    for (const head of heads) head.store();
    writeTotals(environment, { usedBytes, appended });
  }
  return { more: removed === maxBlocks };
}

/** The oldest blocks of a partition, as far as they are delivered. */
class PartitionHead {
  readonly #environment: Environment;
  readonly #partition: number;
  readonly #delivered: number;
  readonly #end: number;
  #start: number;
  #moved = false;
  #keys: Uint8Array[] = [];
  #next: BlockKey | undefined;

  constructor(environment: Environment, partition: number, delivered: number) {
    const { start, end } = readPartition(environment, partition);
    this.#environment = environment;
    this.#partition = partition;
    this.#delivered = delivered;
    this.#start = start;
    this.#end = end;
    this.#advance();
  }

  /** The oldest block; undefined when there is none, or it is not delivered as a whole. */
  get next(): BlockKey | undefined {
    return this.#next;
  }

  remove(): void {
    const key = this.#keys.shift();
    if (key === undefined || this.#next === undefined) return;
    this.#environment.blocks.removeSync(key);
    this.#start = this.#next.base + this.#next.count;
    this.#moved = true;
    this.#advance();
  }

  /** Writes where the partition starts now. */
  store(): void {
    if (!this.#moved) return;
    writePartition(this.#environment, this.#partition, { start: this.#start, end: this.#end });
  }

  #advance(): void {
    if (this.#keys.length === 0 && this.#start < this.#delivered) this.#load();
    const key = this.#keys[0];
    const block = key === undefined ? undefined : decodeKey(key);
    this.#next = block !== undefined && block.base + block.count <= this.#delivered ? block : undefined;
  }

  /** Takes keys a few at a time into memory: a cursor must not be open over what is being removed. */
  #load(): void {
    const range = { start: keyFrom(this.#partition, this.#start), end: keyFrom(this.#partition + 1, 0) };
    this.#keys = [];
    for (const key of this.#environment.blocks.getKeys({ ...range, limit: keysAtOnce })) this.#keys.push(key);
  }
}

function oldest(heads: readonly PartitionHead[]): PartitionHead | undefined {
  let found: PartitionHead | undefined;
  for (const head of heads) {
    if (head.next === undefined) continue;
    if (found?.next === undefined || head.next.newestMs < found.next.newestMs) found = head;
  }
  return found;
}

/** Runs retention every 10 s in one of the processes that write to the log, whichever comes first. */
export class RetentionTask {
  readonly #environment: Environment;
  readonly #options: { partitions: number; maxBytes: number; retentionMs: number; log?: Logger | undefined };
  #timer: NodeJS.Timeout;
  #pass: Promise<void> | undefined;
  #stopped = false;

  constructor(
    environment: Environment,
    options: { partitions: number; maxBytes: number; retentionMs: number; log?: Logger | undefined },
  ) {
    this.#environment = environment;
    this.#options = options;
    this.#timer = setInterval(() => this.#startPass(), intervalMs).unref();
  }

  /** Runs at once, whoever ran last: for a log that is full. */
  hurry(): void {
    this.#startPass(true);
  }

  /** Stops, after the transaction under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#pass;
  }

  #startPass(now = false): void {
    if (this.#stopped || this.#pass !== undefined) return;
    this.#pass = this.#run(now)
      .catch((error) => {
        if (escalateInvariant(error)) return;
        this.#options.log?.warn({ err: error }, `retention of the embedded log failed: ${messageOf(error)}`);
      })
      .finally(() => {
        this.#pass = undefined;
      });
  }

  #ranLately(): boolean {
    const sinceMs = Date.now() - readRetentionTime(this.#environment);
    // A run in the future: the clock was set back since.
    return sinceMs >= 0 && sinceMs < intervalMs * 0.9;
  }

  async #run(now: boolean): Promise<void> {
    const environment = this.#environment;
    environment.releaseDeadReaders();
    environment.refresh();
    if (!now && this.#ranLately()) return;
    const { partitions, maxBytes, retentionMs } = this.#options;
    let more = true;
    for (let first = true; more && !this.#stopped; first = false) {
      if (!first) await sleep(pauseMs);
      ({ more } = await environment.write(() => {
        const nowMs = Date.now();
        if (first) writeRetentionTime(environment, nowMs);
        const limits = { olderThanMs: nowMs - retentionMs, targetBytes: maxBytes };
        return removeDelivered(environment, partitions, limits);
      }));
    }
  }
}
