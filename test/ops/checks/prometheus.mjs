/** Prometheus: scrape configurations, rules, their tests, and that every alert has what who is woken by it needs. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import { createRegistry, metricTable } from '../../../dist/metrics/metrics.js';
import { CheckError, runTool } from '../check.mjs';
import { metricNamesOf } from '../promql.mjs';
import { readRunbook, readSections } from '../runbook.mjs';

/** Where the files are. */
export const directory = 'docker/prometheus';
/** By how targets are found. */
export const configurations = ['prometheus.yml', 'prometheus.consul.yml', 'prometheus.kubernetes.yml'];

/** Metrics of others that rules may use, by who exports them. */
const foreignMetrics = {
  'Prometheus itself': ['up'],
  'blackbox_exporter, prober http': ['probe_success', 'probe_ssl_earliest_cert_expiry'],
  'ClickHouse, system.events': [
    'ClickHouseProfileEvents_DelayedInserts',
    'ClickHouseProfileEvents_RejectedInserts',
  ],
  'ClickHouse, system.asynchronous_metrics': [
    'ClickHouseAsyncMetrics_MaxPartCountForPartition',
    'ClickHouseAsyncMetrics_DiskAvailable_default',
    'ClickHouseAsyncMetrics_DiskTotal_default',
  ],
  'danielqsj/kafka_exporter': ['kafka_brokers'],
  Alertmanager: ['alertmanager_notifications_failed_total'],
};

/** @typedef {{record?: string, alert?: string, expr: string, labels?: Record<string, string>,
 *   annotations?: Record<string, string>}} Rule */

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'prometheus scrape configuration',
    tools: ['promtool', 'prometheus-blackbox-exporter'],
    run: checkConfigurations,
    mistakes: [
      {
        file: `${directory}/prometheus.yml`,
        find: 'scrape_interval: 15s',
        replace: 'scrape_interval: 15 seconds',
        says: /not a valid duration/,
      },
      {
        file: `${directory}/prometheus.yml`,
        find: 'job_name: millrace-streamer',
        replace: 'job_name: millrace-stream',
        says: /no job millrace-streamer/,
      },
      {
        file: `${directory}/prometheus.consul.yml`,
        find: 'action: keep',
        replace: 'action: keeep',
        says: /keeep/,
      },
      {
        file: `${directory}/prometheus.kubernetes.yml`,
        find: 'regex: Succeeded|Failed',
        replace: 'regex: (Succeeded|Failed',
        says: /missing closing/,
      },
      {
        file: `${directory}/blackbox.yml`,
        find: 'valid_status_codes: [200]',
        replace: 'valid_status: [200]',
        says: /valid_status/,
      },
      {
        file: `${directory}/prometheus.consul.yml`,
        find: 'module: [entry]',
        replace: 'module: [entrance]',
        says: /entrance/,
      },
    ],
  },
  {
    name: 'prometheus rules',
    tools: ['promtool'],
    run: checkRules,
    mistakes: [
      {
        file: `${directory}/rules/delivery.yml`,
        find: 'sum(increase(millrace_dead_letters_total[15m])) > 0',
        replace: 'sum(increase(millrace_dead_letter_total[15m])) > 0',
        says: /MillraceDeadLetters.*millrace_dead_letter_total/,
      },
      {
        file: `${directory}/rules/intake.yml`,
        find: 'changes(process_start_time_seconds{',
        replace: 'changes(process_started_seconds{',
        says: /process_started_seconds/,
      },
      {
        file: `${directory}/rules/dependencies.yml`,
        find: 'kafka_brokers)',
        replace: 'kafka_broker)',
        says: /kafka_broker\b/,
      },
      {
        file: `${directory}/rules/slo.yml`,
        find: 'millrace:requests_bad:ratio5m > 14.4',
        replace: 'millrace:requests_bad:ratio_5m > 14.4',
        says: /millrace:requests_bad:ratio_5m/,
      },
      {
        file: `${directory}/rules/slo.yml`,
        find: '+ sum(rate(',
        replace: '+ sum((rate(',
        says: /parse/,
      },
      {
        file: `${directory}/rules/intake.yml`,
        find: 'runbook_url: docs/runbook.md#millracenocollector',
        replace: 'runbook_url: docs/runbook.md#millracenocollectors',
        says: /MillraceNoCollector.*millracenocollectors/,
      },
      {
        file: 'docs/runbook.md',
        find: '## MillraceDeadLetters',
        replace: '## Dead letters',
        says: /MillraceDeadLetters.*no section/,
      },
      {
        file: 'docs/runbook.md',
        find: '](#millracebufferaway)',
        replace: '](#bufferaway)',
        says: /links to #bufferaway/,
      },
      {
        file: `${directory}/rules/delivery.yml`,
        find: '          description: It had an owner',
        replace: '          details: It had an owner',
        says: /MillracePartitionUnread.*description/,
      },
      {
        file: `${directory}/rules/delivery.yml`,
        find: 'severity: ticket',
        replace: 'severity: warning',
        says: /severity/,
      },
    ],
  },
  {
    name: 'prometheus alert tests',
    tools: ['promtool'],
    run: checkTests,
    mistakes: [
      {
        file: `${directory}/rules/delivery.yml`,
        find: 'millrace_retention_seconds_left < 4 * 3600',
        replace: 'millrace_retention_seconds_left < 4 * 36000',
        says: /MillraceRetentionEnding/,
      },
      {
        file: `${directory}/rules/delivery.yml`,
        find: ' unless on () millrace:disturbed:1h',
        replace: '',
        says: /MillraceEventsUnaccounted/,
      },
      {
        file: `${directory}/rules/slo.yml`,
        find: 'le=~"30(\\\\.0)?"',
        replace: 'le=~"60(\\\\.0)?"',
        says: /MillraceRowsLate/,
      },
      {
        file: `${directory}/tests/intake.yml`,
        find: 'alertname: MillraceNoCollector, exp_alerts: []',
        replace: 'alertname: MillraceNoStreamer, exp_alerts: []',
        says: /MillraceNoCollector has no quiet test/,
      },
    ],
  },
];

async function checkConfigurations({ root, scratch }) {
  const rules = readRules(root);
  const used = new Set(rules.flatMap(({ expr }) => jobsIn(expr)));
  const modules = Object.keys(readYaml(join(root, directory, 'blackbox.yml')).modules);
  for (const name of configurations) {
    const path = join(root, directory, name);
    const { scrape_configs: jobs } = readYaml(path);
    await runTool(['promtool', 'check', 'config', withoutDiscovery(path, scratch)]);
    for (const { params } of jobs)
      for (const module of params?.module ?? [])
        if (!modules.includes(module)) throw new CheckError(`${name}: blackbox.yml has no module ${module}`);
  }
  const { scrape_configs: jobs } = readYaml(join(root, directory, 'prometheus.yml'));
  for (const job of used)
    if (!jobs.some(({ job_name }) => job_name === job))
      throw new CheckError(`prometheus.yml has no job ${job}, which rules ask for`);
  const blackbox = join(root, directory, 'blackbox.yml');
  await runTool(['prometheus-blackbox-exporter', '--config.check', `--config.file=${blackbox}`], {
    cwd: scratch,
  });
  return `${configurations.length} configurations with ${used.size} jobs that rules ask for, ${modules.length} modules`;
}

async function checkRules({ root }) {
  const files = filesIn(root, 'rules');
  await runTool(['promtool', 'check', 'rules', '--lint=all', '--lint-fatal', ...files]);
  const rules = readRules(root);
  const known = await knownMetrics(rules);
  const sections = new Map(readSections(root));
  for (const rule of rules) {
    for (const name of metricNamesOf(rule.expr))
      if (!known.has(name)) throw new CheckError(`${rule.alert ?? rule.record} uses ${name}: no such metric`);
    if (rule.alert !== undefined) checkAlert(rule, sections);
  }
  for (const [, anchor] of readRunbook(root).matchAll(/\]\(#([^)]+)\)/g))
    if (!sections.has(anchor)) throw new CheckError(`docs/runbook.md links to #${anchor}: no such section`);
  const alerts = rules.filter(({ alert }) => alert !== undefined);
  for (const { alert } of alerts) sections.delete(alert.toLowerCase());
  const left = [...sections.values()].filter((title) => title.startsWith('Millrace'));
  if (left.length > 0) throw new CheckError(`docs/runbook.md: no alert is named ${left.join(', ')}`);
  return `${alerts.length} alerts, ${rules.length - alerts.length} recorded, of ${known.size} known metrics`;
}

/** Debian's promtool knows neither Consul nor Kubernetes: prometheus-image.mjs has another one. The rest it checks here. */
function withoutDiscovery(path, scratch) {
  const text = readFileSync(path, 'utf8')
    .replace(/\b(?:consul|kubernetes)_sd_configs: .*/g, 'static_configs: []')
    .replace('rules/*.yml', join(path, '..', 'rules/*.yml'));
  const copy = join(scratch, basename(path));
  writeFileSync(copy, text);
  return copy;
}

/** @param {Rule} rule @param {ReadonlyMap<string, string>} sections of the runbook, by their anchors */
function checkAlert({ alert, labels, annotations = {} }, sections) {
  if (!['page', 'ticket'].includes(labels?.severity))
    throw new CheckError(`${alert} has severity ${labels?.severity}: neither page nor ticket`);
  for (const name of ['summary', 'description', 'runbook_url'])
    if (!annotations[name]) throw new CheckError(`${alert} has no ${name}`);
  const anchor = alert.toLowerCase();
  // Whoever publishes the docs puts their address in front.
  if (!annotations.runbook_url.endsWith(`/runbook.md#${anchor}`))
    throw new CheckError(`${alert} has the runbook_url ${annotations.runbook_url}, not that of its section`);
  if (!sections.has(anchor)) throw new CheckError(`${alert} has no section in docs/runbook.md`);
}

async function checkTests({ root }) {
  const files = filesIn(root, 'tests');
  const cases = files
    .flatMap((file) => readYaml(file).tests)
    .flatMap(({ alert_rule_test: tests = [] }) => tests);
  const alerts = readRules(root).flatMap(({ alert }) => alert ?? []);
  for (const alert of alerts) {
    const own = cases.filter(({ alertname }) => alertname === alert);
    if (!own.some(({ exp_alerts: expected }) => expected.length > 0))
      throw new CheckError(`${alert} has no test in which it fires`);
    if (!own.some(({ exp_alerts: expected }) => expected.length === 0))
      throw new CheckError(`${alert} has no quiet test`);
  }
  // One after the other: those of objectives, which are the last, cover days and take the longest.
  for (const file of files) await runTool(['promtool', 'test', 'rules', file]);
  return `${cases.length} expectations, ${alerts.length} alerts each fire and keep quiet`;
}

/** Names that an expression may use: series of Millrace, of Node.js, of others, and recorded ones. */
async function knownMetrics(rules) {
  const node = await createRegistry({}).getMetricsAsJSON();
  const own = [...Object.values(metricTable), ...node].flatMap(({ name, type }) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  return new Set([
    ...own,
    ...Object.values(foreignMetrics).flat(),
    ...rules.flatMap(({ record }) => record ?? []),
  ]);
}

function jobsIn(expr) {
  return [...expr.matchAll(/\bjob="([^"]+)"/g)].map(([, job]) => job);
}

/** @returns {Rule[]} */
function readRules(root) {
  return filesIn(root, 'rules').flatMap((file) => readYaml(file).groups.flatMap(({ rules }) => rules));
}

/** Paths of the rules or of their tests. */
export function filesIn(root, name) {
  const path = join(root, directory, name);
  return readdirSync(path)
    .filter((file) => file.endsWith('.yml'))
    .sort()
    .map((file) => join(path, file));
}

function readYaml(path) {
  try {
    return parse(readFileSync(path, 'utf8'), { merge: true });
  } catch (error) {
    throw new CheckError(`${basename(path)}: ${error.message}`);
  }
}
