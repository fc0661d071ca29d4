/** Grafana: the dashboards come from the generator, it will find what provisions them, and the analysts' statements run. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckError, runTool } from '../check.mjs';
import {
  dashboardFiles,
  dashboards,
  generator,
  home,
  overview,
  readJson,
  readYaml,
  traffic,
} from '../grafana-files.mjs';
import { readSections } from '../runbook.mjs';

const provisioning = `${home}/provisioning`;

async function checkGenerated({ root }) {
  const { files } = await generator(root);
  const faults = dashboardFiles(root, '')
    .filter((path) => !files.has(path))
    .map((path) => `${path} comes from no dashboard: remove it`);
  for (const [path, text] of files) {
    if (!existsSync(join(root, path)) || readFileSync(join(root, path), 'utf8') !== text)
      faults.push(
        `${path} differs from what the generator gives: change tools/dashboards, then npm run docs`,
      );
  }
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return `${files.size} files as generated`;
}

/** What Grafana would find when it starts with these files. */
async function checkProvisioning({ root }) {
  const { providers = [] } = readYaml(root, `${provisioning}/dashboards/millrace.yaml`);
  for (const { name, options } of providers) {
    const folder = options.path.replace('/etc/grafana/dashboards', dashboards);
    if (!existsSync(join(root, folder)))
      throw new CheckError(`provider ${name}: ${options.path} is ${folder}, which is not there`);
  }
  const folders = providers.map(({ options }) => basename(options.path));
  const left = dashboardFiles(root, '').filter((path) => !folders.includes(path.split('/').at(-2)));
  if (left.length > 0) throw new CheckError(`no provider reads ${left.join(', ')}`);

  const { datasources = [] } = readYaml(root, `${provisioning}/datasources/millrace.yaml`);
  const types = new Set(datasources.map(({ type }) => type));
  for (const path of dashboardFiles(root, '')) {
    const [{ query }] = readJson(root, path).templating.list;
    if (!types.has(query))
      throw new CheckError(`${path} asks a ${query}, and no such data source is provisioned`);
  }
  for (const { name, secureJsonData = {} } of datasources) {
    const literal = Object.keys(secureJsonData).filter(
      (key) => !/^\$__(file|env)\{.+\}$/.test(secureJsonData[key]),
    );
    if (literal.length > 0)
      throw new CheckError(`data source ${name}: ${literal} is written out; take it from a file`);
  }
  checkCompose(root);
  checkRunbook(root);
  return `${datasources.length} data sources, ${providers.length} folders`;
}

/** A panel on what an alert watches links to its section. */
function checkRunbook(root) {
  // Sections of alerts: their names are one word.
  const alerts = readSections(root).filter(([, title]) => /^\w+$/.test(title));
  const headings = new Set(alerts.map(([anchor]) => anchor));
  for (const path of dashboardFiles(root, 'operations'))
    for (const { title, links = [] } of readJson(root, path).panels)
      for (const { url } of links)
        if (!headings.has(url.split('#')[1]))
          throw new CheckError(`${path}, panel '${title}': ${url} is no section of docs/runbook.md`);
}

/** What the data sources take from outside, compose must give. */
function checkCompose(root) {
  const path = 'docker/compose.yaml';
  const { environment, secrets } = readYaml(root, path).services.grafana;
  const text = readFileSync(join(root, `${provisioning}/datasources/millrace.yaml`), 'utf8');
  const given = new Set([...Object.keys(environment), ...secrets.map((name) => `/run/secrets/${name}`)]);
  for (const [, name] of text.matchAll(/\$(?:__file)?\{(.*?)\}/g))
    if (!given.has(name))
      throw new CheckError(`the data sources want ${name}, which ${path} does not give to grafana`);
}

/** The statements run on the embedded ClickHouse: the test does it, over the files of this copy. */
async function checkStatements({ root, scratch }) {
  const config = join(scratch, 'vitest.config.mjs');
  const options = {
    root,
    include: ['test/integration/dashboards.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  };
  writeFileSync(config, `export default { test: ${JSON.stringify(options)} };\n`);
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const said = await runTool(['node', vitest, 'run', '--config', config, '--reporter', 'default'], {
    cwd: root,
    env: { NO_COLOR: '1' },
  });
  return /Tests\s+(.*?)\s*\(/.exec(said)?.[1] ?? 'ran';
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'grafana dashboards are as generated',
    tools: [],
    run: checkGenerated,
    mistakes: [
      {
        file: overview,
        find: '"title": "Freshness"',
        replace: '"title": "Fresh"',
        says: /millrace-overview\.json differs from what the generator gives/,
      },
    ],
  },
  {
    name: 'grafana provisioning',
    tools: [],
    run: checkProvisioning,
    mistakes: [
      {
        file: `${provisioning}/dashboards/millrace.yaml`,
        find: '/etc/grafana/dashboards/analysts',
        replace: '/etc/grafana/dashboards/analyst',
        says: /docker\/grafana\/dashboards\/analyst, which is not there/,
      },
      {
        file: `${provisioning}/datasources/millrace.yaml`,
        find: '$__file{/run/secrets/analyst_password}',
        replace: 'clickhouse',
        says: /password is written out/,
      },
    ],
  },
  {
    name: 'grafana panels on clickhouse',
    tools: [],
    run: checkStatements,
    mistakes: [
      { file: traffic, find: 'GROUP BY time, event', replace: 'GROUP BY time, evnt', says: /evnt/ },
      {
        file: traffic,
        find: 'received_at >= $__fromTime_ms',
        replace: 'toDateTime(received_at) >= $__fromTime_ms',
        says: /the time is looked up/,
      },
      {
        file: `${home}/clickhouse-user.sql`,
        find: 'max_result_rows',
        replace: 'max_results_rows',
        says: /max_results_rows/,
      },
    ],
  },
];
