/** Grafana: dashboards, their queries, and what provisions them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';
import { cacheDirectory } from '../tools.mjs';

const home = 'docker/grafana';
const dashboards = `${home}/dashboards`;
const overview = `${dashboards}/operations/millrace-overview.json`;
const traffic = `${dashboards}/analysts/millrace-traffic.json`;
const provisioning = `${home}/provisioning`;

/**
 * The generator as it was built. Files are compared with what it gives, wherever they lie.
 * @param {string} root
 */
export async function generator(root) {
  const load = (file) => import(pathToFileURL(join(root, 'dist/tools/dashboards', file)).href);
  const [{ renderDashboards }, { seriesNames }] = await Promise.all([
    load('dashboards.js'),
    load('sources.js'),
  ]);
  return { files: renderDashboards(), series: new Set(seriesNames()) };
}

function dashboardFiles(root, folder) {
  const directory = join(root, dashboards);
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json') && name.startsWith(folder))
    .map((name) => `${dashboards}/${name}`);
}

function readJson(root, path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8'));
  } catch (error) {
    throw new CheckError(`${path}: ${error.message}`);
  }
}

async function checkGenerated({ root }) {
  const { files } = await generator(root);
  const faults = dashboardFiles(root, '')
    .filter((path) => !files.has(path))
    .map((path) => `${path} comes from no dashboard: remove it`);
  for (const [path, text] of files) {
    if (!existsSync(join(root, path)) || readFileSync(join(root, path), 'utf8') !== text)
      faults.push(
        `${path} differs from what the generator gives: change src/tools/dashboards, then npm run docs`,
      );
  }
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return `${files.size} files as generated`;
}

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

/**
 * Every expression of the operators' dashboards.
 * @param {string} root
 * @param {Record<string, string>} times what Grafana would put in for its variables of time
 */
export function readExpressions(root, times) {
  const variables = Object.entries({ ...times, $job: '.+', $instance: '.+' });
  const fillIn = (expr) => variables.reduce((text, [name, value]) => text.replaceAll(name, value), expr);
  return dashboardFiles(root, 'operations').flatMap((path) =>
    readJson(root, path).panels.flatMap(({ title, targets }) =>
      targets.map(({ expr }) => ({ where: `${path}, panel '${title}'`, expr: fillIn(expr) })),
    ),
  );
}

/** Names of the series of an expression; all of them are followed by matchers. */
export function namesIn(expr) {
  return expr.match(/\b[A-Za-z_:][\w:]*(?=\{)/g) ?? [];
}

/**
 * TypeScript compares the dashboards with Grafana's own types: no field, option or value that Grafana does not know.
 * Those of a data source's queries are not among them.
 */
async function checkTypes({ root, scratch }) {
  const types = await fetchTypes();
  const paths = dashboardFiles(root, '');
  const file = join(scratch, 'dashboards.ts');
  writeFileSync(file, typedDashboards(root, paths, types));
  await runTool([join(root, 'node_modules/.bin/tsc'), ...tscOptions, file], { cwd: scratch });
  return `${paths.length} dashboards as Grafana ${schemaVersion} types them`;
}

const schemaVersion = '13.2.3';
const tscOptions =
  '--ignoreConfig --noEmit --pretty false --strict --exactOptionalPropertyTypes --skipLibCheck --target es2022 --module esnext --moduleResolution bundler'.split(
    ' ',
  );

/** npm compares the archive with the registry's hash. */
async function fetchTypes() {
  const directory = join(cacheDirectory, `grafana-schema-${schemaVersion}`);
  const types = join(directory, 'package/dist/types');
  if (!existsSync(types)) {
    mkdirSync(directory, { recursive: true });
    await runTool(['npm', 'pack', '--silent', `@grafana/schema@${schemaVersion}`], { cwd: directory });
    await runTool(['tar', '-xzf', `grafana-schema-${schemaVersion}.tgz`], { cwd: directory });
  }
  return types;
}

/** A program that says of each dashboard, and of what each panel draws, which type it has. */
function typedDashboards(root, paths, types) {
  const kinds = ['timeseries', 'stat', 'table', 'bargauge'];
  const lines = [
    `import type { Dashboard } from '${types}/index';`,
    ...kinds.map(
      (kind) => `import type * as ${kind} from '${types}/raw/composable/${kind}/panelcfg/x/types.gen';`,
    ),
    '// JSON has the values of the enums.',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: TypeScript's, within the text
    'type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;',
  ];
  for (const path of paths) {
    const dashboard = readJson(root, path);
    lines.push(`// ${path}`, `void (${JSON.stringify(dashboard, undefined, 1)} satisfies Plain<Dashboard>);`);
    for (const { title, type, options, fieldConfig } of dashboard.panels) {
      lines.push(
        `// ${title}`,
        `void (${JSON.stringify(options)} satisfies Plain<Partial<${type}.Options>>);`,
      );
      if (type === 'timeseries')
        lines.push(
          `void (${JSON.stringify(fieldConfig.defaults.custom)} satisfies Plain<timeseries.FieldConfig>);`,
        );
    }
  }
  return lines.join('\n');
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
  return `${datasources.length} data sources, ${providers.length} folders`;
}

/** What the data sources take from outside, compose must give. */
function checkCompose(root) {
  const path = 'docker/compose.yaml';
  if (!existsSync(join(root, path))) return;
  const { environment, secrets } = readYaml(root, path).services.grafana;
  const text = readFileSync(join(root, `${provisioning}/datasources/millrace.yaml`), 'utf8');
  const given = new Set([...Object.keys(environment), ...secrets.map((name) => `/run/secrets/${name}`)]);
  for (const [, name] of text.matchAll(/\$(?:__file)?\{(.*?)\}/g))
    if (!given.has(name))
      throw new CheckError(`the data sources want ${name}, which ${path} does not give to grafana`);
}

function readYaml(root, path) {
  try {
    return parse(readFileSync(join(root, path), 'utf8'), { merge: true });
  } catch (error) {
    throw new CheckError(`${path}: ${error.message}`);
  }
}

/** The statements run on the embedded ClickHouse: the test does it, over the files of this copy. */
async function checkStatements({ root, scratch }) {
  mkdirSync(scratch, { recursive: true });
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
  {
    name: "grafana dashboards by Grafana's types",
    tools: ['npm', 'tar'],
    run: checkTypes,
    mistakes: [
      { file: overview, find: '"gridPos"', replace: '"gridPosition"', says: /gridPosition/ },
      { file: overview, find: '"colorMode": "value"', replace: '"colorMode": "text"', says: /"text"/ },
      { file: traffic, find: '"drawStyle": "bars"', replace: '"drawStyle": "bar"', says: /"bar"/ },
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
