import { describe, expect, it } from 'vitest';
import type { ClickHouse, StatementOptions } from '../../../src/clickhouse/client.ts';
import { formatRow, tailRows, Watermarks } from '../../../src/commands/tail.ts';

interface Asked {
  readonly sql: string;
  readonly params: StatementOptions['params'];
}

function createFake(answers: readonly unknown[][]): {
  clickhouse: Pick<ClickHouse, 'query'>;
  asked: Asked[];
} {
  const left = [...answers];
  const asked: Asked[] = [];
  const query = <T>(sql: string, options?: StatementOptions): Promise<T[]> => {
    asked.push({ sql, params: options?.params });
    return Promise.resolve((left.shift() ?? []) as T[]);
  };
  return { clickhouse: { query }, asked };
}

function rowOf(partition: number, offset: number, second = 0) {
  const received_at = `2015-05-17T10:05:0${second}.000Z`;
  return { received_at, topic: 'events', partition, offset, json: `{"n":${offset}}` };
}

describe('watermarks', () => {
  it('take in every row at first', () => {
    expect(new Watermarks().isNew()).toEqual({ sql: '(1)', params: {} });
    expect(new Watermarks().isSeen()).toEqual({ sql: '0', params: {} });
  });

  it('stand at the highest offset of each partition of each topic', () => {
    const watermarks = new Watermarks();
    watermarks.advance({ topic: 'a', partition: 0, offset: 7 });
    watermarks.advance({ topic: 'a', partition: 0, offset: 3 });
    watermarks.advance({ topic: "b'", partition: 0, offset: 0 });
    const { sql, params } = watermarks.isNew();
    expect(params).toEqual({ t0: 'a', t1: "b'" });
    expect(sql).toBe(
      '((topic = {t0:String} AND partition = 0 AND offset > 7) OR ' +
        '(topic = {t1:String} AND partition = 0 AND offset > 0) OR ' +
        'NOT ((topic = {t0:String} AND partition IN (0)) OR (topic = {t1:String} AND partition IN (0))))',
    );
  });
});

describe('tail', () => {
  it('prints the past by time and ends there when told', async () => {
    const { clickhouse, asked } = createFake([
      [{ topic: 'events', partition: 0, offset: 9 }],
      [rowOf(0, 9, 3), rowOf(1, 4, 2), rowOf(0, 8, 2)],
    ]);
    const { signal } = new AbortController();
    const options = { limit: 3, follow: false, filter: 'status = 200 -- ok', pollMs: 1, signal };
    const pages = [];
    for await (const page of tailRows(clickhouse, options)) pages.push(page);
    expect(pages.map((page) => page.map(({ offset }) => offset))).toEqual([[8, 4, 9]]);
    expect(asked).toHaveLength(2);
    expect(asked[1]?.sql).toContain('offset <= 9');
    expect(asked[1]?.sql).toContain('AND (\nstatus = 200 -- ok\n)');
  });

  it('goes on after the last row of each partition, and takes in new partitions', async () => {
    const { clickhouse, asked } = createFake([
      [{ topic: 'events', partition: 0, offset: 5 }],
      [],
      [rowOf(0, 6), rowOf(0, 7), rowOf(3, 0)],
      [],
    ]);
    const controller = new AbortController();
    const options = { limit: 0, follow: true, filter: undefined, pollMs: 1, signal: controller.signal };
    const read = async () => {
      for await (const page of tailRows(clickhouse, options)) expect(page).toHaveLength(3);
    };
    const reading = read();
    while (asked.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    await expect(reading).rejects.toThrow('abort');
    expect(asked[2]?.sql).toContain('offset > 5');
    expect(asked[3]?.sql).toContain('partition = 0 AND offset > 7');
    expect(asked[3]?.sql).toContain('partition = 3 AND offset > 0');
  });

  it('prints events as ClickHouse holds them', () => {
    const row = {
      received_at: '2015-05-17T10:05:00.000Z',
      topic: 't',
      partition: 1,
      offset: 2,
      data: '{"n":12345678901234567890}',
    };
    expect(formatRow(row)).toBe(
      '{"received_at":"2015-05-17T10:05:00.000Z","partition":1,"offset":2,"data":{"n":12345678901234567890}}',
    );
  });
});
