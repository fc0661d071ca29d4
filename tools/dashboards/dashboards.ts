/** All dashboards, and the files that they become. */
import { clickhouse } from './clickhouse.ts';
import { collector } from './collector.ts';
import { errors } from './errors.ts';
import { kafka } from './kafka.ts';
import { overview } from './overview.ts';
import type { Dashboard, MetricDashboard, SqlDashboard } from './panel.ts';
import { renderDashboard } from './render.ts';
import { streamer } from './streamer.ts';
import { traffic } from './traffic.ts';

/** For those who operate Millrace. */
export const operations: readonly MetricDashboard[] = [overview, collector, streamer, clickhouse, kafka];

/** For analysts. */
export const analysts: readonly SqlDashboard[] = [traffic, errors];

/** Directory of the generated files, from the root of the project. */
export const dashboardsDirectory = 'docker/grafana/dashboards';

/** Content of each file by its path from the root of the project. */
export function renderDashboards(): Map<string, string> {
  return new Map(
    [...operations, ...analysts].map((dashboard) => [pathOf(dashboard), renderDashboard(dashboard)]),
  );
}

function pathOf({ folder, uid }: Dashboard): string {
  return `${dashboardsDirectory}/${folder}/${uid}.json`;
}
