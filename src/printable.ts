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
