/** Which form of the fault suite runs, and the seed of its choices. */

/** `full`: `npm run test:faults`. `short`: what `npm test` includes. */
export const form = process.env.TEST_FAULTS === 'full' ? 'full' : 'short';

/** TEST_SEED, or another one for each run; every result names it. */
export const runSeed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 1e9));

/** Picks by form. */
export function byForm<T>(choice: { readonly full: T; readonly short: T }): T {
  return choice[form];
}
