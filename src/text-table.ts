/** Lines of text in columns. */

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
