import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import { createScrubber, redactNamed } from './redact.ts';
import { version } from './version.ts';

/**
 * The log of a process: JSON lines on standard error, so that standard output is only data. `service` tells the
 * processes of one machine apart; docs/logs.md has the fields. `secrets` are blotted out wherever they occur.
 */
export function createLogger(name: string, level: string, secrets: readonly string[] = []): Logger {
  return pino(
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
      hooks: { streamWrite: createScrubber(secrets) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
