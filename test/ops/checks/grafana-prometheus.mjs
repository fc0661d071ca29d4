/** Grafana's panels on Prometheus: its parser reads every expression, of series that something exposes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckError, runTool } from '../check.mjs';
import { dashboards, generator, namesIn, overview, readExpressions } from '../grafana-files.mjs';

/** Prometheus's own parser reads every expression, as a recording rule; every series is one that something exposes. */
async function checkPromQl({ root, scratch }) {
  const { series } = await generator(root);
  const expressions = readExpressions(root, { $__rate_interval: '5m', $__range: '1h' });
  for (const { where, expr } of expressions) {
    const unknown = namesIn(expr).filter((name) => !series.has(name));
    if (unknown.length > 0) throw new CheckError(`${where}: nothing exposes ${unknown.join(', ')}`);
  }
  const rules = expressions.map(({ where, expr }, index) => ({
    record: `panel:${index}`,
    expr,
    labels: { panel: where },
  }));
  const file = join(scratch, 'panels.yaml');
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
  await runTool(['promtool', 'check', 'rules', file]);
  return `${expressions.length} expressions parsed, of ${series.size} known series`;
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'grafana panels on prometheus',
    tools: ['promtool'],
    run: checkPromQl,
    mistakes: [
      {
        file: overview,
        find: 'millrace_events_accepted_total',
        replace: 'millrace_events_acepted_total',
        says: /nothing exposes millrace_events_acepted_total/,
      },
      {
        file: `${dashboards}/operations/millrace-kafka.json`,
        find: '[$__rate_interval]',
        replace: '',
        says: /expected type range vector/,
      },
    ],
  },
];
