import { describe, expect, test } from 'vitest';
import type { HttpGetter } from '../../../src/bench/endpoint.ts';
import { sumMetric, watchProcess } from '../../../src/bench/process-watch.ts';

describe('sumMetric', () => {
  const text = [
    '# HELP millrace_consumer_lag_events Records in the buffer.',
    '# TYPE millrace_consumer_lag_events gauge',
    'millrace_consumer_lag_events{partition="0"} 5',
    'millrace_consumer_lag_events{partition="1"} 1.5e3',
    'millrace_consumer_lag_events_of_others 7',
    'odd{name="a } 3"} 4',
    'plain 0',
    'broken x',
  ].join('\n');

  test.each([
    ['millrace_consumer_lag_events', 1_505],
    ['odd', 4],
    ['plain', 0],
    ['broken', undefined],
    ['absent', undefined],
  ])('of %s is %s', (name, sum) => {
    expect(sumMetric(text, name)).toBe(sum);
  });
});

/** A process whose metrics are set; `undefined` is one that does not answer. */
function processOf() {
  const state: { metrics: Record<string, number> | undefined } = { metrics: undefined };
  const http: HttpGetter = {
    async get() {
      if (state.metrics === undefined) return { status: undefined, reason: 'nobody is there' };
      const body = Object.entries(state.metrics).map(([name, value]) => `${name} ${value}\n`);
      return { status: 200, body: body.join('') };
    },
    close: async () => {},
  };
  return { state, http };
}

const metrics = (cpu: number, memory: number, rest: Record<string, number> = {}) => ({
  process_cpu_seconds_total: cpu,
  process_resident_memory_bytes: memory,
  ...rest,
});

describe('watchProcess', () => {
  const url = new URL('http://127.0.0.1:1');

  test('sums up from the begin to the end, with the most memory in between', async () => {
    const { state, http } = processOf();
    const watch = watchProcess(http, url, 'collector');
    state.metrics = metrics(1, 900, { millrace_events_accepted_total: 10 });
    await watch.look();
    state.metrics = metrics(2, 100, { millrace_events_accepted_total: 1_000 });
    await watch.begin();
    state.metrics = metrics(3, 300, { millrace_events_accepted_total: 4_000 });
    await watch.look();
    expect(watch.residentBytes).toBe(300);
    state.metrics = metrics(4, 200, { millrace_events_accepted_total: 6_000 });
    expect(await watch.end(4_900)).toEqual({
      ...{ cpu_seconds: 2, events: 5_000, events_per_cpu_second: 2_500, cpu_us_per_event: 400 },
      ...{ max_resident_bytes: 300, is_counted_by_process: true },
    });
  });

  test('of a collector that does not count events, those that were acknowledged', async () => {
    const { state, http } = processOf();
    const watch = watchProcess(http, url, 'collector');
    state.metrics = { process_cpu_seconds_total: 1 };
    await watch.begin();
    state.metrics = { process_cpu_seconds_total: 1.5 };
    expect(await watch.end(1_000)).toMatchObject({
      ...{
        events: 1_000,
        events_per_cpu_second: 2_000,
        max_resident_bytes: null,
        is_counted_by_process: false,
      },
    });
  });

  test('says nothing of a process that is away, was started anew, or did nothing', async () => {
    const { state, http } = processOf();
    const watch = watchProcess(http, url, 'streamer');
    await watch.begin();
    expect([watch.lag, watch.residentBytes]).toEqual([undefined, undefined]);
    expect(await watch.end(5)).toEqual({ unknown: 'http://127.0.0.1:1 does not answer: nobody is there' });
    const rows = { millrace_rows_inserted_total: 5, process_start_time_seconds: 100 };
    state.metrics = metrics(9, 1, rows);
    await watch.begin();
    state.metrics = metrics(10, 1, {
      ...rows,
      millrace_rows_inserted_total: 9,
      process_start_time_seconds: 101,
    });
    expect(await watch.end(undefined)).toEqual({ unknown: expect.stringContaining('restarted') });
    await watch.begin();
    expect(await watch.end(undefined)).toEqual({ unknown: expect.stringContaining('no rows') });
    const nobody = watchProcess(http, undefined, 'streamer');
    expect(await nobody.end(1)).toEqual({ unknown: 'it was not measured' });
  });

  test('tells the lag of a streamer', async () => {
    const { state, http } = processOf();
    const watch = watchProcess(http, url, 'streamer');
    state.metrics = metrics(1, 1, { 'millrace_consumer_lag_events{partition="3"}': 12 });
    await watch.look();
    expect(watch.lag).toBe(12);
  });
});
