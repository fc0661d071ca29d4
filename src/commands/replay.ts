import type { Config } from '../config/options.ts';
import { type ExitCode, exitCodes, OperatorError } from '../errors.ts';
import { listenForStop } from '../process/lifecycle.ts';
import { systemClock } from '../replay/pacing.ts';
import { createPoster } from '../replay/poster.ts';
import { createProgress } from '../replay/progress.ts';
import { type ReplayResult, replayFile } from '../replay/replay-file.ts';
import { openSource, type Source } from '../replay/source.ts';
import { formatSummary, formatSummaryJson, type Summary } from '../replay/tally.ts';
import { printableJson, printableLines } from '../text.ts';
import type { Command, CommandContext } from './command.ts';

/**
 * Posts a file of events to a collector. Exit codes: 0 when every event was accepted; 1 when some were rejected
 * or unreadable, or the run was stopped; 69 when the collector is unavailable; 2 for a file that cannot be read.
 */
export const replay: Command = {
  arguments: ['<file>'],
  options: [
    'url',
    'format',
    'rate',
    'speed',
    'batch',
    'concurrency',
    'retryFor',
    'skip',
    'json',
    'stopTimeout',
    'logLevel',
    'config',
  ],
  exitCodes: {
    1: 'events were rejected or cannot be read, or it was stopped',
    2: 'wrong usage, or a file that cannot be read',
  },
  examples: [
    'millrace replay events.ndjson',
    'millrace replay access.log.gz --speed 60',
    'tail -f access.log | millrace replay - --format access-log',
    'millrace replay events.ndjson --rate 5000 --concurrency 16 --json',
  ],
  run,
};

async function run({ config, args, log }: CommandContext): Promise<ExitCode> {
  const [file] = args;
  if (file === undefined)
    throw new OperatorError('replay needs a file name, or - for standard input', exitCodes.usage);
  if (config.rate !== undefined && config.speed !== undefined) {
    throw new OperatorError('--rate and --speed exclude each other: give one of them', exitCodes.usage);
  }
  const source = await openSource(file);
  const { summary, failure } = await replaySource(source, config, log);
  const text = config.json
    ? printableJson(formatSummaryJson(summary))
    : printableLines(formatSummary(summary, source.name));
  await new Promise((resolve) => process.stdout.write(`${text}\n`, resolve));
  if (failure !== undefined) throw failure;
  return exitCodeOf(summary);
}

async function replaySource(
  source: Source,
  config: Config,
  log: CommandContext['log'],
): Promise<ReplayResult> {
  const poster = createPoster({
    url: config.url,
    connections: config.concurrency,
    isSingle: config.batch === 1,
  });
  const { signal, release } = listenForStop();
  try {
    return await replayFile({
      source,
      poster,
      target: config.url.origin,
      progress: createProgress(process.stderr, source.size),
      log,
      clock: systemClock,
      format: config.format,
      pace: { rate: config.rate, speed: config.speed },
      batch: config.batch,
      concurrency: config.concurrency,
      skip: config.skip,
      retryForMs: config.retryFor,
      stopTimeoutMs: config.stopTimeout,
      stop: signal,
    });
  } finally {
    release();
    source.close();
    await poster.close();
  }
}

function exitCodeOf({ state, rejected, unreadable }: Summary): ExitCode {
  return state === 'complete' && rejected === 0 && unreadable === 0 ? exitCodes.ok : exitCodes.failure;
}
