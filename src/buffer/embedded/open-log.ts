import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../../errors.ts';
import { Environment, logPath } from './environment.ts';
import { ensureIdentity, isReadableFormat, type LogIdentity, readIdentity } from './log-state.ts';

/** What both ends of an embedded log need to open it; whichever comes first creates it. */
export interface EmbeddedLogOptions {
  /** Directory of all logs: `<data-dir>/log`. */
  readonly dir: string;
  /** Name of the log. */
  readonly topic: string;
  /** Number of partitions when the log is created, 1 to 256; an existing log keeps its own. */
  readonly partitions: number;
  /** Most bytes that stored blocks may take (`--log-max-bytes`). */
  readonly maxBytes: number;
  readonly log?: Logger | undefined;
}

/** An open log: {@link Environment.release} gives it back. */
export interface OpenLog {
  readonly environment: Environment;
  readonly identity: LogIdentity;
}

/**
 * Opens the log of a topic, and creates it when there is none.
 * @throws OperatorError when it cannot be opened, or a newer release has written it
 */
export async function openLog(options: EmbeddedLogOptions): Promise<OpenLog> {
  const { dir, topic, partitions, maxBytes, log } = options;
  const path = logPath(dir, topic);
  // Address space, not disk. LMDB replaces a map that has become too small, but keeps the old one as well.
  const environment = await Environment.acquire(path, 2 * maxBytes + 1024 ** 3);
  try {
    environment.refresh();
    const identity =
      readIdentity(environment) ??
      (await environment.write(() => ensureIdentity(environment, { topicId: randomUUID(), partitions })));
    if (!isReadableFormat(identity)) {
      throw new OperatorError(
        `The embedded log in ${path} has format ${identity.format}, which this release cannot read. Use the release that wrote it.`,
        exitCodes.configuration,
      );
    }
    if (identity.partitions !== partitions) {
      log?.warn(
        { topic, partitions: identity.partitions, wanted: partitions },
        `the embedded log was created with ${identity.partitions} partitions and keeps them: --log-partitions ${partitions} is ignored`,
      );
    }
    return { environment, identity };
  } catch (error) {
    await environment.release();
    throw error;
  }
}
