/** Which metrics an expression of PromQL asks for; dashboards and rules are checked by it. */

const words = new Set(
  'and or unless on ignoring group_left group_right by without offset bool inf nan start end atan2'.split(
    ' ',
  ),
);

/**
 * Names of the series in an expression that Prometheus has parsed, so that it is known to be one.
 * @param {string} expression
 * @returns {string[]}
 */
export function metricNamesOf(expression) {
  const bare = expression
    .replace(/#.*$/gm, ' ')
    .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, ' ')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, ' ');
  const names = [...bare.matchAll(/(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g)].map(([name]) => name);
  return [...new Set(names)].filter((name) => !words.has(name.toLowerCase()));
}
