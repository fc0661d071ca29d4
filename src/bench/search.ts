/** Finds the highest rate that holds: doubling, bisecting, confirming. Knows nothing of what is tried. */

/** Why a rate is tried: a short step of the search, or one of the long runs that confirm its result. */
export type Phase = 'search' | 'confirm';

/** What limits the search. */
export interface SearchOptions {
  /** Where it begins, requests per second. */
  readonly startRate: number;
  /** It does not try rates beyond these. */
  readonly lowestRate: number;
  readonly highestRate: number;
  /** How far the highest rate that holds and the lowest that fails may be apart, as a share: 0.05. */
  readonly precision: number;
  /** Long runs that must hold, one after the other. */
  readonly confirmations: number;
}

/** Tries a rate; whether it holds. */
export type Probe = (rate: number, phase: Phase) => Promise<boolean>;

/** How far a rate may be lowered by confirmations that fail, as a share of what short steps found. */
const lowestConfirmed = 0.5;

/**
 * Searches. Rates are whole numbers.
 * @returns the highest rate that was confirmed; undefined when none was
 */
export async function findHighestRate(probe: Probe, options: SearchOptions): Promise<number | undefined> {
  const { precision, confirmations } = options;
  const found = await bracket(probe, options);
  if (found === undefined) return undefined;
  let { holds, fails } = found;
  while (fails - holds > Math.max(1, holds * precision)) {
    // The geometric middle: precision is a share, and the bracket is a factor of two.
    const middle = Math.min(fails - 1, Math.max(holds + 1, Math.round(Math.sqrt(holds * fails))));
    if (await holdsOnce(probe, middle)) holds = middle;
    else fails = middle;
  }
  const lowest = Math.max(options.lowestRate, holds * lowestConfirmed);
  for (let rate = holds; rate >= lowest; rate = Math.min(rate - 1, Math.floor(rate * (1 - precision)))) {
    let confirmed = 0;
    while (confirmed < confirmations && (await probe(rate, 'confirm'))) confirmed++;
    if (confirmed === confirmations) return rate;
  }
  return undefined;
}

/** A rate that holds and a higher one that does not; the latter is beyond the highest when that holds, too. */
async function bracket(
  probe: Probe,
  { startRate, lowestRate, highestRate }: SearchOptions,
): Promise<{ holds: number; fails: number } | undefined> {
  let rate = startRate;
  if (await holdsOnce(probe, rate)) {
    for (;;) {
      const holds = rate;
      if (holds === highestRate) return { holds, fails: holds + 1 };
      rate = Math.min(highestRate, 2 * rate);
      if (!(await holdsOnce(probe, rate))) return { holds, fails: rate };
    }
  }
  for (;;) {
    const fails = rate;
    if (fails === lowestRate) return undefined;
    rate = Math.max(lowestRate, Math.floor(rate / 2));
    if (await holdsOnce(probe, rate)) return { holds: rate, fails };
  }
}

/**
 * A step that fails is tried once more: a hiccup of the machine must not pass for the limit, since the search
 * never comes back to rates above it. One that holds by chance does no harm: the confirmations find out.
 */
async function holdsOnce(probe: Probe, rate: number): Promise<boolean> {
  return (await probe(rate, 'search')) || (await probe(rate, 'search'));
}
