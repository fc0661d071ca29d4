import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { exitCodes, OperatorError } from '../../errors.ts';
import { Environment, existsEnvironment, logPath } from './environment.ts';
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
  const environment = await Environment.acquire(path, mapSizeOf(maxBytes));
  try {
    environment.refresh();
    const identity =
      readIdentity(environment) ??
      (await environment.write(() => ensureIdentity(environment, { topicId: randomUUID(), partitions })));
    checkFormat(identity, path);
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

/**
 * Opens the log of a topic only if there is one.
 * @throws OperatorError when there is none, it cannot be opened, or a newer release has written it
 */
export async function openExistingLog(
  options: Pick<EmbeddedLogOptions, 'dir' | 'topic' | 'maxBytes'>,
): Promise<OpenLog> {
  const path = logPath(options.dir, options.topic);
  if (!existsEnvironment(path)) throw noLog(path);
  const environment = await Environment.acquire(path, mapSizeOf(options.maxBytes));
  try {
    environment.refresh();
    const identity = readIdentity(environment);
    if (identity === undefined) throw noLog(path);
    checkFormat(identity, path);
    return { environment, identity };
  } catch (error) {
    await environment.release();
    throw error;
  }
}

/** Address space, not disk. LMDB replaces a map that has become too small, but keeps the old one as well. */
function mapSizeOf(maxBytes: number): number {
  return 2 * maxBytes + 1024 ** 3;
}

function checkFormat(identity: LogIdentity, path: string): void {
  if (isReadableFormat(identity)) return;
  throw new OperatorError(
    `The embedded log in ${path} has format ${identity.format}, which this release cannot read. Use the release that wrote it.`,
    exitCodes.configuration,
  );
}

function noLog(path: string): OperatorError {
  return new OperatorError(
    `There is no embedded log in ${path}: no collector or streamer has run there yet. Check --data-dir and --kafka-topic, or --buffer if the events go through Kafka.`,
    exitCodes.unavailable,
  );
}
