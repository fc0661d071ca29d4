/**
 * Halves of surrogate pairs in JSON text: what `JSON.stringify` makes of a text that was cut within an emoji. JSON lets
 * an escape stand for one (RFC 8259, section 8.2), but no UTF-8 can hold it, and ClickHouse refuses the whole event.
 */

const escapeBytes = 6;
const backslash = 0x5c;
/** How an escape of a surrogate begins; the third digit is 8 to F. */
const beginnings = ['\\ud', '\\uD'];
/** Escape of U+FFFD, which is as long. */
const replacement = '\\ufffd';

/** JSON texts, however many and whatever lies between them, with U+FFFD for each lone surrogate; a copy if there is one. */
export function withoutLoneSurrogates(text: Buffer): Buffer {
  let mended: Buffer | undefined;
  for (const beginning of beginnings) {
    for (let at = text.indexOf(beginning, 0, 'latin1'); at !== -1; ) {
      if (isLone(text, at)) {
        mended ??= Buffer.from(text);
        mended.write(replacement, at, 'latin1');
      }
      at = text.indexOf(beginning, at + beginning.length, 'latin1');
    }
  }
  return mended ?? text;
}

function isLone(text: Buffer, at: number): boolean {
  const unit = unitAt(text, at);
  if (isHigh(unit)) return !isLow(unitAt(text, at + escapeBytes));
  return isLow(unit) && !isHigh(unitAt(text, at - escapeBytes));
}

/** The code unit whose escape begins here; undefined when none does. */
function unitAt(text: Buffer, at: number): number | undefined {
  const digits = text.toString('latin1', Math.max(0, at), Math.max(0, at + escapeBytes));
  if (!/^\\u[0-9a-f]{4}$/i.test(digits)) return undefined;
  // Behind an odd number of backslashes, this one is escaped itself.
  let before = at;
  while (text[before - 1] === backslash) before--;
  return (at - before) % 2 === 0 ? Number.parseInt(digits.slice(2), 16) : undefined;
}

function isHigh(unit: number | undefined): boolean {
  return unit !== undefined && unit >= 0xd800 && unit < 0xdc00;
}

function isLow(unit: number | undefined): boolean {
  return unit !== undefined && unit >= 0xdc00 && unit < 0xe000;
}
