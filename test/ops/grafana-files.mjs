/** The files of Grafana, for its checks. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse } from 'yaml';
import { CheckError } from './check.mjs';

export const home = 'docker/grafana';
export const dashboards = `${home}/dashboards`;
export const overview = `${dashboards}/operations/millrace-overview.json`;
export const traffic = `${dashboards}/analysts/millrace-traffic.json`;

/**
 * The generator as it was built. Files are compared with what it gives, wherever they lie.
 * @param {string} root
 */
export async function generator(root) {
  if (!existsSync(join(root, '.build/tools/dashboards')))
    throw new CheckError('the tools are not built: npm run build:tools');
  const load = (file) => import(pathToFileURL(join(root, '.build/tools/dashboards', file)).href);
  const [{ renderDashboards }, { seriesNames }] = await Promise.all([
    load('dashboards.js'),
    load('sources.js'),
  ]);
  return { files: renderDashboards(), series: new Set(seriesNames()) };
}

/**
 * Paths of the dashboards of a folder, from the root of the project; of all with ''.
 * @param {string} root
 * @param {'operations' | 'analysts' | ''} folder
 */
export function dashboardFiles(root, folder) {
  const directory = join(root, dashboards);
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json') && name.startsWith(folder))
    .map((name) => `${dashboards}/${name}`);
}

/** A dashboard. @throws {CheckError} when it is no JSON */
export function readJson(root, path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8'));
  } catch (error) {
    throw new CheckError(`${path}: ${error.message}`);
  }
}

/** @throws {CheckError} when it is no YAML */
export function readYaml(root, path) {
  try {
    return parse(readFileSync(join(root, path), 'utf8'), { merge: true });
  } catch (error) {
    throw new CheckError(`${path}: ${error.message}`);
  }
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
