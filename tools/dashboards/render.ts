/** Dashboards as the JSON that Grafana provisions (its classic model, schema version 42, as of Grafana 13). */
import type { Dashboard, MetricPanel, PanelKind, SqlPanel, Steps } from './panel.ts';
import { links, runbookLink, variables } from './surroundings.ts';

const gridColumns = 24;
const mostBars = 120;
const heights: Readonly<Record<PanelKind, number>> = { number: 4, lines: 8, bars: 8, ranking: 9, table: 9 };
/** Grafana's names of them. */
const types: Readonly<Record<PanelKind, string>> = {
  number: 'stat',
  lines: 'timeseries',
  bars: 'timeseries',
  ranking: 'bargauge',
  table: 'table',
};

/** The file of one dashboard. */
export function renderDashboard(dashboard: Dashboard): string {
  const isMetric = dashboard.folder === 'operations';
  const { uid, title, description, folder, from, panels } = dashboard;
  const places = layOut(panels);
  const model = {
    uid,
    title,
    description,
    tags: ['millrace', folder],
    editable: false,
    schemaVersion: 42,
    // Days of the analysts begin at midnight UTC, as ClickHouse counts them.
    timezone: isMetric ? 'browser' : 'utc',
    time: { from, to: 'now' },
    refresh: isMetric ? '30s' : '',
    graphTooltip: 1,
    links,
    templating: { list: variables(dashboard) },
    annotations: { list: [] },
    panels: panels.map((panel, index) => renderPanel(panel, index + 1, places[index])),
  };
  return `${JSON.stringify(model, undefined, 2)}\n`;
}

/** From left to right; a panel that does not fit begins a new line below the highest of the one before. */
function layOut(panels: readonly (MetricPanel | SqlPanel)[]) {
  let [x, y, below] = [0, 0, 0];
  return panels.map(({ width, kind }) => {
    if (x + width > gridColumns) [x, y] = [0, below];
    const place = { x, y, w: width, h: heights[kind] };
    x += width;
    below = Math.max(below, y + place.h);
    return place;
  });
}

function renderPanel(panel: MetricPanel | SqlPanel, id: number, gridPos: object | undefined): object {
  const { title, description, kind, unit, steps } = panel;
  const datasource = 'sql' in panel ? clickHouse : prometheus;
  const isPlain = steps === undefined;
  return {
    id,
    type: types[kind],
    title,
    description,
    ...('alert' in panel && panel.alert !== undefined ? { links: [runbookLink(panel.alert)] } : {}),
    gridPos,
    datasource,
    ...(kind === 'bars' ? { maxDataPoints: mostBars } : {}),
    fieldConfig: {
      defaults: {
        unit,
        ...(kind === 'number' || kind === 'table' ? {} : { min: 0 }),
        ...('sql' in panel && panel.by !== undefined
          ? { displayName: `\${__field.labels.${panel.by}}` }
          : {}),
        ...(isPlain ? {} : { thresholds: renderSteps(steps) }),
        color: { mode: isPlain ? 'palette-classic' : 'thresholds' },
        custom: customOf[kind],
      },
      overrides: 'sql' in panel ? Object.entries(panel.units ?? {}).map(renderUnit) : [],
    },
    options: optionsOf[kind],
    targets: 'sql' in panel ? [sqlTarget(panel)] : metricTargets(panel),
  };
}

const prometheus = { type: 'prometheus', uid: '$datasource' };
const clickHouse = { type: 'grafana-clickhouse-datasource', uid: '$datasource' };

function metricTargets({ kind, queries }: MetricPanel): object[] {
  return queries.map(({ expression, legend }, index) => ({
    refId: String.fromCharCode('A'.charCodeAt(0) + index),
    datasource: prometheus,
    editorMode: 'code',
    expr: expression,
    legendFormat: legend,
    range: kind !== 'number',
    instant: kind === 'number',
  }));
}

/** `format` is the plugin's number of a time series or a table. */
function sqlTarget({ kind, sql }: SqlPanel): object {
  const isOverTime = kind === 'lines' || kind === 'bars';
  return {
    refId: 'A',
    datasource: clickHouse,
    editorType: 'sql',
    rawSql: sql,
    queryType: isOverTime ? 'timeseries' : 'table',
    format: isOverTime ? 0 : 1,
  };
}

function renderSteps(steps: Steps) {
  // The first step begins at minus infinity, which Grafana writes as null.
  const values = steps.map(([from, color], index) => ({ color, value: index === 0 ? null : from }));
  return { mode: 'absolute', steps: values };
}

function renderUnit([column, unit]: [column: string, unit: string]) {
  return { matcher: { id: 'byName', options: column }, properties: [{ id: 'unit', value: unit }] };
}

const overTime = {
  legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
  tooltip: { mode: 'multi', sort: 'desc' },
};
const onlyLast = { calcs: ['lastNotNull'], fields: '', values: false };

const optionsOf: Readonly<Record<PanelKind, object>> = {
  lines: overTime,
  bars: overTime,
  number: {
    reduceOptions: onlyLast,
    colorMode: 'value',
    graphMode: 'none',
    justifyMode: 'auto',
    orientation: 'auto',
    textMode: 'auto',
    wideLayout: true,
  },
  ranking: {
    // One bar for each row of the answer.
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: true, limit: 20 },
    displayMode: 'basic',
    orientation: 'horizontal',
    namePlacement: 'left',
    showUnfilled: true,
    valueMode: 'text',
    sizing: 'auto',
    minVizHeight: 16,
    minVizWidth: 8,
    maxVizHeight: 300,
  },
  table: { showHeader: true, cellHeight: 'sm' },
};

const drawn = { lineWidth: 1, showPoints: 'never', spanNulls: false };
const customOf: Readonly<Record<PanelKind, object>> = {
  lines: { ...drawn, drawStyle: 'line', fillOpacity: 5, stacking: { mode: 'none', group: 'A' } },
  bars: { ...drawn, drawStyle: 'bars', fillOpacity: 80, stacking: { mode: 'normal', group: 'A' } },
  number: {},
  ranking: {},
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
};
