/** Keeps what is stored from steering the terminal that shows it. */

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
