/** What is around the panels: variables at the top, links to the other dashboards and to the runbook. */
import type { Dashboard } from './panel.ts';

/** Where you publish docs/: change it here, then `npm run docs`. */
const docsUrl = 'https://millrace.example/docs';

/** Shown on every dashboard. */
export const links = [
  {
    type: 'dashboards',
    title: 'Millrace',
    tags: ['millrace'],
    asDropdown: true,
    keepTime: true,
    includeVars: false,
    targetBlank: false,
    icon: 'dashboard',
    tooltip: 'The other dashboards, at the same time',
    url: '',
  },
  pageLink('Runbook', 'runbook.md', 'What to do when an alert fires'),
  pageLink('About these dashboards', 'dashboards.md', 'What each panel answers'),
];

/** Link of a panel to what to do when this alert fires. */
export function runbookLink(alert: string) {
  return pageLink(`Runbook: ${alert}`, `runbook.md#${alert.toLowerCase()}`, 'What to do about it');
}

function pageLink(title: string, page: string, tooltip: string) {
  return {
    type: 'link',
    title,
    tags: [],
    asDropdown: false,
    keepTime: false,
    includeVars: false,
    targetBlank: true,
    icon: 'doc',
    tooltip,
    url: `${docsUrl}/${page}`,
  };
}

/** Variables of a dashboard; the data source first, since the others ask it. */
export function variables(dashboard: Dashboard): object[] {
  if (dashboard.folder === 'analysts')
    return [datasourceVariable('ClickHouse', 'grafana-clickhouse-datasource'), eventVariable];
  const { scope } = dashboard;
  return [
    datasourceVariable('Prometheus', 'prometheus'),
    labelVariable('job', `label_values(${scope}, job)`),
    // By `up`, so that one that is down all the time is there, too.
    labelVariable('instance', `label_values(up{job=~"$job"}, instance)`),
  ];
}

/** The provisioned one unless another is chosen. */
function datasourceVariable(name: 'Prometheus' | 'ClickHouse', plugin: string) {
  return {
    name: 'datasource',
    label: 'Data source',
    type: 'datasource',
    query: plugin,
    current: { text: name, value: `millrace-${name.toLowerCase()}` },
    options: [],
    regex: '',
    refresh: 1,
    hide: 0,
    multi: false,
    includeAll: false,
    skipUrlSync: false,
  };
}

function labelVariable(name: 'job' | 'instance', query: string) {
  return {
    ...chosen(name, name === 'job' ? 'Job' : 'Instance'),
    datasource: { type: 'prometheus', uid: '$datasource' },
    query: { query, refId: name },
  };
}

/** All those of the list unless some are chosen (so `up` is not that of other programs); asked again when the time changes. */
function chosen(name: string, label: string) {
  return {
    name,
    label,
    type: 'query',
    regex: '',
    sort: 1,
    refresh: 2,
    hide: 0,
    multi: true,
    includeAll: true,
    current: { text: 'All', value: '$__all' },
    options: [],
    skipUrlSync: false,
  };
}

/** The statement of the variable `event`. Without events, `IN ()` of the panels is nothing. */
const eventNamesSql =
  'SELECT DISTINCT event FROM events WHERE received_at >= $__fromTime_ms AND received_at <= $__toTime_ms ORDER BY event LIMIT 1000';

const eventVariable = {
  ...chosen('event', 'Event'),
  datasource: { type: 'grafana-clickhouse-datasource', uid: '$datasource' },
  query: eventNamesSql,
};
