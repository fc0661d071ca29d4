/** Reads the provisioned dashboards, and puts into their statements what Grafana and its plugins would. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const directory = fileURLToPath(new URL('../../docker/grafana/', import.meta.url));

/** What tests look at in a dashboard. */
export interface DashboardFile {
  readonly uid: string;
  readonly title: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
  readonly panels: readonly PanelFile[];
}

/** What tests look at in a panel. */
export interface PanelFile {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly rawSql?: string; readonly expr?: string }[];
}

/** A file of docker/grafana. */
export function readGrafanaFile(path: string): string {
  return readFileSync(`${directory}${path}`, 'utf8');
}

/** The dashboards of a folder. */
export function readDashboards(folder: 'operations' | 'analysts'): DashboardFile[] {
  return readdirSync(`${directory}dashboards/${folder}`).map(
    (name) => JSON.parse(readGrafanaFile(`dashboards/${folder}/${name}`)) as DashboardFile,
  );
}

/** The time that a dashboard shows, and what is chosen in it. */
export interface View {
  readonly fromMs: number;
  readonly toMs: number;
  readonly intervalSeconds: number;
  readonly events: readonly string[];
}

/** A statement as it reaches ClickHouse: the variable by Grafana, the macros by the plugin (pkg/macros/macros.go of it). */
export function fillIn(sql: string, { fromMs, toMs, intervalSeconds, events }: View): string {
  const quoted = events.map((event) => `'${event.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`);
  return sql
    .replace(/\$\{event:singlequote\}/g, () => quoted.join(','))
    .replace(/\$__fromTime_ms\b/g, `fromUnixTimestamp64Milli(${fromMs})`)
    .replace(/\$__toTime_ms\b/g, `fromUnixTimestamp64Milli(${toMs})`)
    .replace(/\$__interval_s\b/g, String(intervalSeconds));
}
