/** The span of an insert: `process <topic>`, linked to the posts whose events are in it. */
import { messageOf } from '../errors.ts';
import { nowMs, type Tracer } from '../tracing/span.ts';
import { newContext } from '../tracing/trace-context.ts';
import type { Sink } from './protocol/delivery.ts';

/**
 * A sink that records the inserts of batches in which events are traced. With events of one post it goes on with
 * their trace; else it is a trace of its own, which the links lead to.
 */
export function traceInserts(sink: Sink, tracer: Tracer): Sink {
  return {
    ...sink,
    async insert(batch, partition, options) {
      const links = batch.links?.contexts ?? [];
      if (links.length === 0) return await sink.insert(batch, partition, options);
      const startMs = nowMs();
      let error: string | undefined;
      try {
        await sink.insert(batch, partition, options);
      } catch (thrown) {
        error = messageOf(thrown);
        throw thrown;
      } finally {
        const { plan, repeats } = batch;
        const parent = links.length === 1 ? links[0] : undefined;
        tracer.record({
          ...{ context: newContext(parent), parent, links, droppedLinks: batch.links?.dropped ?? 0, error },
          name: `process ${partition.topic}`,
          kind: 'consumer',
          ...{ startMs, endMs: nowMs() },
          attributes: {
            'messaging.system': tracer.system,
            'messaging.operation.name': 'process',
            'messaging.operation.type': 'process',
            'messaging.destination.name': partition.topic,
            'messaging.destination.partition.id': String(partition.partition),
            'messaging.batch.message_count': plan.rows,
            'db.system.name': 'clickhouse',
            'millrace.offset.start': plan.start,
            'millrace.offset.end': plan.end,
            'millrace.repeats': repeats.length,
            'millrace.is_replay': options.isReplay,
          },
        });
      }
    },
  };
}
