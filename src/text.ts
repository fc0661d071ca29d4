/** Keeps what is stored from steering the terminal that shows it. */
/** Rows with their cells below each other; the first `right` columns, which hold numbers, are aligned to the right. */
export function alignColumns(rows: readonly (readonly string[])[], right: number): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, index) =>
        index < right ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

/** A number with its noun: `1 dead letter`, `2 dead letters`. */
export function countOf(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

/**
 * Text from events, ClickHouse, Kafka or a collector, on its way to a terminal: characters that move its cursor, change
 * its title or the order of what it shows are escaped. Those are the control and format characters of Unicode and its
 * two separators of lines: C0, DEL, C1, zero-width ones, marks of direction, the byte order mark, tags.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** The same, but for what ends and indents a line. */
const unsafeInLines = /[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A text in one line: `\u{9b}` in place of U+009B, and so for the end of a line. */
export function printable(text: string): string {
  return text.replace(unsafe, escapeForPeople);
}

/** A text of several lines: as {@link printable}, but line ends and tabs stay. A last resort: they may be foreign. */
export function printableLines(text: string): string {
  return text.replace(unsafeInLines, escapeForPeople);
}

/** JSON, of one line or several: the same value, with `\u009b` in place of U+009B. */
export function printableJson(json: string): string {
  return json.replace(unsafeInLines, (character) => {
    let escaped = '';
    // By UTF-16 unit, as JSON has it.
    for (let i = 0; i < character.length; i++) {
      escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
    }
    return escaped;
  });
}

function escapeForPeople(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

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

/** C0, DEL, C1, and what turns the direction of writing around; but no line feed and no tab. */
const controls = /(?![\n\t])[\p{Cc}\p{Bidi_Control}]/gu;

/** Shows control characters instead of obeying them: ESC as `\x1B`, U+202E as `\u202E`. */
export function escapeControls(text: string): string {
  return text.replace(controls, (char) => {
    const code = char.charCodeAt(0).toString(16).toUpperCase();
    return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`;
  });
}

/** The same for UTF-8 in pieces, whose edges may lie within a character. */
export async function* escapePieces(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for await (const piece of pieces) yield escapeControls(decoder.decode(piece, { stream: true }));
  yield escapeControls(decoder.decode());
}
