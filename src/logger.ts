/**
 * Keeps secrets out of what leaves the process as text: log lines and error reports. By name, where a value stands
 * under one that tells; by form, where it stands in the middle of a text; and by value, for the secrets of this process.
 */
import { hostname } from 'node:os';
import { type Logger, type LoggerOptions as PinoOptions, pino } from 'pino';
import type { ErrorReporter } from './error-reports.ts';
import { createScrubber, redactNamed } from './redact.ts';
import { printableJson } from './text.ts';
import { version } from './version.ts';

/** What a log does beside writing lines. */
interface LoggerOptions {
  /** Blotted out wherever they occur. */
  readonly secrets?: readonly string[];
  /** Told of every line of level error or fatal. */
  readonly reporter?: ErrorReporter | undefined;
}

type LoggerHooks = NonNullable<PinoOptions['hooks']>;

const errorLevel = pino.levels.values.error ?? 50;
const fatalLevel = pino.levels.values.fatal ?? 60;
const reporters = new WeakMap<Logger, ErrorReporter>();

/**
 * The log of a process: JSON lines on standard error, so that standard output is only data. `service` tells the
 * processes of one machine apart; docs/logs.md has the fields.
 */
export function createLogger(name: string, level: string, { secrets, reporter }: LoggerOptions = {}): Logger {
  const scrub = createScrubber(secrets);
  const log = pino(
    {
      level,
      base: { service: `millrace-${name}`, version, host: hostname(), pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => redactNamed(fields) as Record<string, unknown>,
      },
      // What an error carries beside its message is its maker's choice.
      serializers: { err: (error: Error) => redactNamed({ ...pino.stdSerializers.err(error) }) },
      hooks: {
        streamWrite: (line) => printableJson(scrub(line)),
        ...(reporter !== undefined && { logMethod: createReportingMethod(reporter) }),
      },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  if (reporter !== undefined) reporters.set(log, reporter);
  return log;
}

/** Waits until errors that were logged are reported: for the end of a process. */
export async function flushReports(log: Logger): Promise<void> {
  await reporters.get(log)?.flush();
}

function createReportingMethod(reporter: ErrorReporter): NonNullable<LoggerHooks['logMethod']> {
  return function report(args, method, level) {
    const label = level >= fatalLevel ? 'fatal' : 'error';
    // Lines of levels that are not wanted do not come here.
    if (level >= errorLevel) {
      const [first, second] = args as readonly unknown[];
      const fields = typeof first === 'object' && first !== null ? (first as Record<string, unknown>) : {};
      const message = typeof first === 'string' ? first : String(second ?? '');
      reporter.report({ level: label, message, fields });
    }
    method.apply(this, args);
  };
}
