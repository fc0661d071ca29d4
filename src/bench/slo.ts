/** What a collector has to hold: `p99<100ms,loss=0,errors<1%`. */
import { exitCodes, OperatorError } from '../errors.ts';

/** Latencies by name, milliseconds from the planned send time. */
export const quantiles = { p50: 50, p90: 90, p99: 99, 'p99.9': 99.9, max: 100 } as const;

/** Name of a latency. */
export type Quantile = keyof typeof quantiles;

/** One condition, and its text as it was given. */
export type SloTerm = { readonly text: string } & (
  | { readonly kind: 'latency'; readonly quantile: Quantile; readonly belowMs: number }
  /** Reconciled: every acknowledged event is stored, exactly once. */
  | { readonly kind: 'loss' }
  /** Share of the requests that were planned and not acknowledged, 0 to 1. */
  | { readonly kind: 'errors'; readonly below: number }
);

/** What is judged. */
export interface SloFigures {
  /** Of all planned requests; null: there was no answer at all. */
  readonly latencyMs: Readonly<Record<Quantile, number | null>>;
  /** 0 to 1. */
  readonly errors: number;
  /** Events missing, stored twice or not delivered in time; undefined: not known, which does not hold. */
  readonly lost: number | undefined;
}

/** A condition and whether it holds; `value` is for a person. */
export interface JudgedTerm {
  readonly text: string;
  readonly value: string;
  readonly holds: boolean;
}

const milliseconds = { us: 0.001, ms: 1, s: 1_000, m: 60_000 } as const;

/**
 * Reads terms, separated by commas.
 * @throws OperatorError exit 78 that names the term which is none
 */
export function parseSlo(text: string): readonly SloTerm[] {
  return text.split(',').map((part) => {
    const term = part.replaceAll(/\s/g, '');
    return parseLatency(term) ?? parseErrors(term) ?? parseLoss(term) ?? refuse(part.trim());
  });
}

/** More failed requests than this share are not all right, whatever else holds. */
export const mostErrors = 0.001;

/**
 * Adds `errors<0.1%` where nothing is said about errors: answers that only refuse are quick, and a rate at which
 * the collector refuses is not one that it holds.
 */
export function withErrorLimit(terms: readonly SloTerm[]): readonly SloTerm[] {
  return terms.some(({ kind }) => kind === 'errors')
    ? terms
    : [...terms, ...parseSlo(`errors<${100 * mostErrors}%`)];
}

function parseLatency(text: string): SloTerm | undefined {
  const match = /^(p50|p90|p99|p99\.9|max)<(\d+(?:\.\d+)?)(us|ms|s|m)$/.exec(text);
  if (match === null) return undefined;
  const belowMs = Number(match[2]) * milliseconds[match[3] as keyof typeof milliseconds];
  return { text, kind: 'latency', quantile: match[1] as Quantile, belowMs };
}

function parseErrors(text: string): SloTerm | undefined {
  const match = /^errors<(\d+(?:\.\d+)?)%$/.exec(text);
  return match === null ? undefined : { text, kind: 'errors', below: Number(match[1]) / 100 };
}

function parseLoss(text: string): SloTerm | undefined {
  return text === 'loss=0' ? { text, kind: 'loss' } : undefined;
}

function refuse(part: string): never {
  throw new OperatorError(
    `--slo does not know '${part}': its terms, separated by commas, are ${Object.keys(quantiles).join(', ')} ` +
      'with a limit, such as p99<100ms; errors<1%; loss=0',
    exitCodes.configuration,
  );
}

/** Judges every term. */
export function judgeSlo(terms: readonly SloTerm[], figures: SloFigures): readonly JudgedTerm[] {
  return terms.map((term) => ({ text: term.text, ...judgeTerm(term, figures) }));
}

function judgeTerm(term: SloTerm, { latencyMs, errors, lost }: SloFigures): Omit<JudgedTerm, 'text'> {
  if (term.kind === 'latency') {
    const value = latencyMs[term.quantile];
    if (value === null) return { value: 'no answers', holds: false };
    return { value: `${term.quantile} ${Number(value.toPrecision(3))} ms`, holds: value < term.belowMs };
  }
  if (term.kind === 'errors')
    return { value: `errors ${Number((100 * errors).toPrecision(3))}%`, holds: errors < term.below };
  if (lost === undefined) return { value: 'loss not known', holds: false };
  return { value: `loss ${lost}`, holds: lost === 0 };
}

/** Whether all hold. */
export function isHeld(terms: readonly JudgedTerm[]): boolean {
  return terms.every(({ holds }) => holds);
}
