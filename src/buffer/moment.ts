/** Moments on two clocks, for whoever must not take a time for shorter than it was. */

/** A moment. Each clock stands still or is set where the other is not. */
export interface Moment {
  /** `performance.now()`: goes on evenly, but not while the machine is suspended or its virtual machine frozen. */
  readonly steady: number;
  /** `Date.now()`: goes on while it is suspended, but may be set. */
  readonly wall: number;
}

/** Tells the moment. */
export type Clock = () => Moment;

/** The clocks of this machine. */
export const systemClock: Clock = () => ({ steady: performance.now(), wall: Date.now() });

/** Before every other moment. */
export const never: Moment = { steady: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };

/** Milliseconds from one moment to a later one, at the most: what the clock says that counted more. */
export function msBetween(earlier: Moment, later: Moment): number {
  return Math.max(later.steady - earlier.steady, later.wall - earlier.wall);
}
