/** PromQL that is made of keys of metrics: an expression cannot be written that names another metric, or another label. */
import type { MetricDefinition } from '../../src/metrics/metrics.ts';
import { type KeyOf, type LabelOf, type MetricKey, sources } from './sources.ts';

declare const made: unique symbol;

/** An expression. Only the functions of this file make one. */
export type PromQl = string & { readonly [made]: true };

/** Which series of a metric, and how they are put together. */
export interface Selection<Key extends MetricKey> {
  /** Labels that stay apart; without them all series become one. */
  readonly by?: readonly LabelOf<Key>[];
  /** Regular expressions that labels must match. */
  readonly where?: { readonly [Label in LabelOf<Key>]?: string };
  /** How long ago. */
  readonly offset?: '$__range';
}

/** Increase a second of a counter. */
export function perSecond<Key extends KeyOf<'counter'>>(key: Key, selection: Selection<Key> = {}): PromQl {
  return aggregate('sum', `rate(${series(key, selection)}[$__rate_interval])`, selection);
}

/** Increase of a counter within the time that the dashboard shows. */
export function increase<Key extends KeyOf<'counter'>>(key: Key, selection: Selection<Key> = {}): PromQl {
  return aggregate('sum', `increase(${series(key, selection)}[$__range])`, selection);
}

/**
 * Sum of what a histogram observed within the time that the dashboard shows. Other than a counter by label it begins
 * at 0, so that nothing is missed of a process that has just started.
 */
export function total<Key extends KeyOf<'histogram'>>(key: Key, selection: Selection<Key> = {}): PromQl {
  return aggregate('sum', `increase(${series(key, selection, '_sum')}[$__range])`, selection);
}

/** Value of a gauge over its series. */
export function gauge<Key extends KeyOf<'gauge'>>(
  how: 'sum' | 'min' | 'max' | 'count',
  key: Key,
  selection: Selection<Key> = {},
): PromQl {
  const offset = selection.offset === undefined ? '' : ` offset ${selection.offset}`;
  return aggregate(how, `${series(key, selection)}${offset}`, selection);
}

/** A quantile of what a histogram observed, over all its series unless they stay apart. */
export function quantile<Key extends KeyOf<'histogram'>>(
  q: number,
  key: Key,
  selection: Selection<Key> = {},
): PromQl {
  const buckets = `rate(${series(key, selection, '_bucket')}[$__rate_interval])`;
  return `histogram_quantile(${q}, sum by (${['le', ...(selection.by ?? [])].join(', ')}) (${buckets}))` as PromQl;
}

/** Mean of what a histogram observed. */
export function mean<Key extends KeyOf<'histogram'>>(key: Key, selection: Selection<Key> = {}): PromQl {
  const rateOf = (part: string) =>
    aggregate('sum', `rate(${series(key, selection, part)}[$__rate_interval])`, selection);
  return promql`${rateOf('_sum')} / ${rateOf('_count')}`;
}

/**
 * Share of what a histogram observed that was not above a bound, within the time that the dashboard shows.
 * @throws Error when none of its buckets ends there: Prometheus would find nothing
 */
export function shareWithin<Key extends KeyOf<'histogram'>>(key: Key, bound: number): PromQl {
  const { name, buckets = [] }: Omit<MetricDefinition, 'help'> = sources[key];
  if (!buckets.includes(bound)) throw new Error(`${name} has no bucket that ends at ${bound}`);
  // Prometheus 3 stores the bound 30 as 30.0, Prometheus 2 as it is exposed.
  const within = `${name}_bucket${matchers([`le=~"${bound}([.]0)?"`])}`;
  const all = series(key, {}, '_count');
  return `sum(increase(${within}[$__range])) / sum(increase(${all}[$__range]))` as PromQl;
}

/** 0 where an expression finds no series, as a counter by label has none before its first event. */
export function orZero(expression: PromQl): PromQl {
  return `(${expression} or vector(0))` as PromQl;
}

/** Expressions and numbers, joined by operators. */
export function promql(text: TemplateStringsArray, ...parts: (PromQl | number)[]): PromQl {
  return String.raw({ raw: text }, ...parts) as PromQl;
}

function aggregate<Key extends MetricKey>(how: string, inner: string, { by = [] }: Selection<Key>): PromQl {
  return `${how}${by.length === 0 ? '' : ` by (${by.join(', ')}) `}(${inner})` as PromQl;
}

function series<Key extends MetricKey>(key: Key, { where = {} }: Selection<Key>, part = ''): string {
  const own = Object.entries(where).map(([label, pattern]) => `${label}=~"${pattern}"`);
  return `${sources[key].name}${part}${matchers(own)}`;
}

/** Every expression obeys the variables of the dashboard. */
function matchers(own: readonly string[]): string {
  return `{${['job=~"$job"', 'instance=~"$instance"', ...own].join(', ')}}`;
}
