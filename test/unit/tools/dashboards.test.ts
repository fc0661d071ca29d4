import { collectDefaultMetrics, Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { analysts, operations, renderDashboards } from '../../../tools/dashboards/dashboards.ts';
import {
  gauge,
  mean,
  perSecond,
  promql,
  quantile,
  shareWithin,
  total,
} from '../../../tools/dashboards/promql.ts';
import { seriesNames, sources } from '../../../tools/dashboards/sources.ts';
import type { DashboardFile, PanelFile } from '../../support/grafana.ts';

const rendered = [...renderDashboards()].map(([path, text]) => ({ path, text }));
const all = [...operations, ...analysts];

describe('PromQL', () => {
  const scope = 'job=~"$job", instance=~"$instance"';

  test('is made of keys of metrics', () => {
    expect(perSecond('requests', { by: ['status'], where: { status: '5..' } })).toBe(
      `sum by (status) (rate(millrace_http_requests_total{${scope}, status=~"5.."}[$__rate_interval]))`,
    );
    expect(gauge('max', 'lag', { offset: '$__range' })).toBe(
      `max(millrace_consumer_lag_events{${scope}} offset $__range)`,
    );
    expect(quantile(0.99, 'freshness')).toBe(
      `histogram_quantile(0.99, sum by (le) (rate(millrace_freshness_seconds_bucket{${scope}}[$__rate_interval])))`,
    );
    const part = (name: string) =>
      `sum(rate(millrace_insert_batch_rows_${name}{${scope}}[$__rate_interval]))`;
    expect(mean('insertRows')).toBe(`${part('sum')} / ${part('count')}`);
    expect(total('insertRows')).toBe(`sum(increase(millrace_insert_batch_rows_sum{${scope}}[$__range]))`);
    expect(promql`${gauge('sum', 'up')} / ${2}`).toBe(`sum(up{${scope}}) / 2`);
  });

  test('has no other metric, label, type or bucket', () => {
    // @ts-expect-error no such metric
    expect(() => perSecond('acepted')).toThrow();
    // @ts-expect-error a gauge has no rate
    perSecond('lag');
    // @ts-expect-error accepted has no such label
    perSecond('accepted', { by: ['status'] });
    // @ts-expect-error text is no expression
    promql`${'rate(anything[5m])'}`;
    expect(() => shareWithin('freshness', 31)).toThrow('no bucket that ends at 31');
    expect(shareWithin('freshness', 30)).toContain('le=~"30([.]0)?"');
  });

  test('names metrics of the process that prom-client has', async () => {
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    const wanted = seriesNames().filter((name) => /^(process|nodejs)_/.test(name));
    expect(wanted.length).toBeGreaterThan(0);
    expect(names).toEqual(expect.arrayContaining(wanted));
  });

  test('series of different sources do not share a name', () => {
    expect(new Set(seriesNames()).size).toBe(seriesNames().length);
    expect(Object.keys(sources).length).toBeGreaterThan(40);
  });
});

describe('dashboards', () => {
  test('have addresses of their own', () => {
    expect(new Set(all.map(({ uid }) => uid)).size).toBe(all.length);
    expect(new Set(all.map(({ title }) => title)).size).toBe(all.length);
  });

  test.each(all)('$title: at most 20 panels, each explained', ({ panels }) => {
    expect(panels.length).toBeLessThanOrEqual(20);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    for (const { description, unit } of panels) {
      expect(description).toMatch(/^[A-Z0-9].*\.$/s);
      expect(unit).not.toBe('');
    }
  });

  test.each(rendered)('$path: a grid without overlap, and no source but the variable', ({ text }) => {
    const { panels, templating } = JSON.parse(text) as DashboardFile;
    expect(panels.map(({ id }) => id)).toEqual(panels.map((_, index) => index + 1));
    for (const [index, panel] of panels.entries()) {
      expect(panel.gridPos.x + panel.gridPos.w).toBeLessThanOrEqual(24);
      for (const other of panels.slice(index + 1)) expect(overlaps(panel, other)).toBe(false);
    }
    expect(templating.list[0]?.name).toBe('datasource');
    const sourcesNamed = [...text.matchAll(/"uid": "(.*)"/g)].map(([, uid]) => uid);
    expect(new Set(sourcesNamed.slice(1))).toEqual(new Set(['$datasource']));
    expect(text).not.toContain('${DS_');
  });
});

function overlaps({ gridPos: a }: PanelFile, { gridPos: b }: PanelFile): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
