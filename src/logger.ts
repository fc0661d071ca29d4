import { type Logger, pino } from 'pino';

/**
 * The log of a process: JSON lines on standard error, so that standard output is only data. `name` tells the
 * processes of one machine apart.
 */
export function createLogger(name: string, level: string): Logger {
  return pino(
    {
      name: `millrace-${name}`,
      level,
      base: { name: `millrace-${name}`, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['*.password', 'password', '*.headers'], censor: '[redacted]' },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
