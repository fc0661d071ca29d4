/** Grafana's dashboards against Grafana's own types. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from '../check.mjs';
import { dashboardFiles, overview, readJson, traffic } from '../grafana-files.mjs';
import { cacheDirectory } from '../tools.mjs';

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

/** @type {import('../check.mjs').Check[]} */
export const checks = [
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
];
