/** Figures as a person reads them. */

/** A whole number with separators. */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Milliseconds, to three digits; `-` where nothing was measured. */
export function formatMs(milliseconds: number | null): string {
  return milliseconds === null ? '-' : `${formatDigits(milliseconds)} ms`;
}

/** A number to three digits, more before the point when there are more. */
export function formatDigits(value: number): string {
  if (Math.abs(value) >= 100) return formatCount(value);
  return String(Number(value.toPrecision(3)));
}

/** Bytes in MiB. */
export function formatMiB(bytes: number): string {
  return `${formatDigits(bytes / 1024 ** 2)} MiB`;
}

/** A share as a percentage. */
export function formatShare(share: number): string {
  return `${formatDigits(100 * share)}%`;
}

/** To three digits behind the point: what the JSON holds of milliseconds and rates. */
export function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
