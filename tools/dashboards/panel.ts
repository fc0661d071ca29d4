/** What a dashboard is made of, before it becomes Grafana's JSON. */
import type { PromQl } from './promql.ts';

/** A series, or several with one legend. */
interface MetricQuery {
  readonly expression: PromQl;
  /** Name of the series; `{{label}}` stands for the value of a label. */
  readonly legend: string;
}

/** What Grafana draws. `lines` and `bars` are over time, `ranking` are bars by name. */
export type PanelKind = 'lines' | 'bars' | 'number' | 'ranking' | 'table';

/** From which value on a number has which colour. */
export type Steps = readonly (readonly [from: number, colour: 'green' | 'orange' | 'red'])[];

/** What all panels have. */
interface PanelBase {
  readonly title: string;
  /** What it answers, and what to make of it. */
  readonly description: string;
  /** Grafana's id of the unit. */
  readonly unit: string;
  readonly kind: PanelKind;
  /** Columns of the grid, which has 24. */
  readonly width: 4 | 6 | 8 | 12 | 24;
  /** Colours of a number from the lowest value on; without them it has none. */
  readonly steps?: Steps;
}

/** A panel on Prometheus. */
export interface MetricPanel extends PanelBase {
  /** The alert on what it shows: a link to its section of docs/runbook.md. */
  readonly alert?: `Millrace${string}`;
  readonly queries: readonly MetricQuery[];
}

/** A panel on ClickHouse. */
export interface SqlPanel extends PanelBase {
  readonly sql: string;
  /** Columns that the statement gives, in order; a panel over time begins with `time`. */
  readonly columns: readonly string[];
  /** The column of text that makes several series of a panel over time; they are called by its values. */
  readonly by?: string;
  /** Units of columns that differ from the panel's. */
  readonly units?: Readonly<Record<string, string>>;
}

interface DashboardBase {
  /** Part of the address; never changes. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Start of the time that it shows when opened. */
  readonly from: string;
}

/** A dashboard for those who operate Millrace, on Prometheus. */
export interface MetricDashboard extends DashboardBase {
  readonly folder: 'operations';
  /** Selects series of the jobs that it is about; their names are up to Prometheus. */
  readonly scope: string;
  readonly panels: readonly MetricPanel[];
}

/** A dashboard for analysts, on ClickHouse. */
export interface SqlDashboard extends DashboardBase {
  readonly folder: 'analysts';
  readonly panels: readonly SqlPanel[];
}

/** Either. */
export type Dashboard = MetricDashboard | SqlDashboard;
