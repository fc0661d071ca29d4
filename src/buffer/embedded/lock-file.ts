/** LMDB's lock file: written out before it is used, and put right after what opening the log does to it. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { assertInvariant } from '../../errors.ts';

/** Above what LMDB needs for 1022 readers. */
const lockFileBytes = 80 * 1024;
/** `mtb_magic` and `mtb_txnid` of `MDB_txbody` in mdb.c, after the 32 bits each of magic and format. */
const magic = 0xbeefc0de;
const transactionAt = 8;
const isLittleEndian = endianness() === 'LE';

/**
 * LMDB makes its lock file sparse and maps it: on a full disk the first touch of a page would end the process
 * with SIGBUS. Written out in full before, a full disk is an error like any other. By a link, which is there
 * with all its bytes or not at all, since another process may open the log at the same time.
 * @param path directory of the environment
 */
export function allocateLockFile(path: string): void {
  const lock = lockPath(path);
  if (existsSync(lock)) return;
  const draft = `${lock}.${randomUUID()}`;
  try {
    writeFileSync(draft, Buffer.alloc(lockFileBytes), { flush: true, flag: 'wx', mode: 0o600 });
    linkSync(draft, lock);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * The number of the last transaction, which all processes share by the lock file, and from which the next
 * transaction takes its state.
 *
 * Whoever opens an environment sets it, in `mdb_env_open2` of mdb.c, to what it read from the data file some
 * time before, and holds no lock meanwhile. A transaction that another process commits in between is then
 * undone: the next one starts from the state before it and takes its place, although it was flushed and
 * acknowledged. Seen with lmdb 3.5.6: 46 events gone after 153 times that a reader was started beside a busy
 * collector; with several transactions in between, the tree is damaged.
 */
export class LastTransaction {
  /** Closing any descriptor of the file gives up the locks of this process on it: kept until the log is closed. */
  readonly #descriptor: number;

  /** @param path directory of an environment that this process has open */
  constructor(path: string) {
    this.#descriptor = openSync(lockPath(path), 'r+');
  }

  /** Sets the number. Only within a write transaction, which has not written anything. */
  restore(id: number): void {
    const head = Buffer.alloc(transactionAt);
    readSync(this.#descriptor, head, 0, head.length, 0);
    const found = isLittleEndian ? head.readUInt32LE() : head.readUInt32BE();
    assertInvariant(found === magic, `the lock file of the embedded log begins with ${found.toString(16)}`);
    const value = Buffer.alloc(8);
    if (isLittleEndian) value.writeBigUInt64LE(BigInt(id));
    else value.writeBigUInt64BE(BigInt(id));
    writeSync(this.#descriptor, value, 0, value.length, transactionAt);
  }

  /** After the environment is closed. */
  close(): void {
    closeSync(this.#descriptor);
  }
}

function lockPath(path: string): string {
  return join(path, 'lock.mdb');
}
