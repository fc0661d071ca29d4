import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from '../config/options.ts';
import { version } from '../version.ts';
import type { Tracer } from './span.ts';

/**
 * The tracer of a process; undefined when there is no endpoint, which is the default: then nothing of this folder
 * that costs anything is even loaded.
 */
export async function openTracer(
  command: string,
  { tracesEndpoint, tracesSample, buffer }: Config,
  log: Logger,
): Promise<Tracer | undefined> {
  if (tracesEndpoint === undefined) return undefined;
  const { createExporter } = await import('./exporter.ts');
  return createExporter({
    endpoint: tracesEndpoint.pathname === '/' ? new URL('/v1/traces', tracesEndpoint) : tracesEndpoint,
    sample: tracesSample,
    system: buffer === 'kafka' ? 'kafka' : 'millrace',
    resource: {
      'service.name': `millrace-${command}`,
      'service.version': version,
      'service.instance.id': `${hostname()}:${process.pid}`,
      'host.name': hostname(),
      'process.pid': process.pid,
    },
    log,
  });
}
