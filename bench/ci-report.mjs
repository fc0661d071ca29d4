/** The table of ci.mjs. */
import { formatDecimal, formatSpread, formatTable, spread } from './figures.mjs';

/** Ranges of fewer rounds say nothing. */
const leastRounds = 3;

/** The costs of this run beside those that were kept, if any were. */
export function formatComparison(now, before) {
  const rows = Object.entries(now.costs).map(([name, { relative, cpuMicros }]) => {
    const old = before?.costs[name];
    return [
      name,
      formatSpread(cpuMicros, formatDecimal(2)),
      formatSpread(relative, formatDecimal(2)),
      old === undefined ? '' : formatSpread(old.relative, formatDecimal(2)),
      ...(old === undefined ? ['', ''] : compare(relative, old.relative)),
    ];
  });
  const head = ['median (range)', 'CPU us per event', 'cost now', 'cost kept', 'now : kept', 'verdict'];
  return [`now: ${describe(now)}`, `kept: ${describe(before)}`, '', formatTable(head, rows)].join('\n');
}

/** The ratio of the medians, with the widest range that the two ranges allow, and a word. */
function compare(now, before) {
  const [a, b] = [spread(now), spread(before)];
  const ratio = [a.median / b.median, a.min / b.max, a.max / b.min].map(formatDecimal(2));
  return [`${ratio[0]} (${ratio[1]}-${ratio[2]})`, judge(now, before)];
}

function judge(now, before) {
  if (Math.min(now.length, before.length) < leastRounds) return 'too few rounds';
  if (Math.min(...now) > Math.max(...before)) return 'dearer';
  return Math.max(...now) < Math.min(...before) ? 'cheaper' : 'no difference';
}

function describe(figures) {
  if (figures === undefined) return 'nothing yet; --keep keeps the figures of this run';
  const { machine, commit, date } = figures;
  return `commit ${commit}, ${date}; ${machine.cores} cores of ${machine.cpu}, Node.js ${machine.node}, wrk ${machine.wrk}, Kafka ${machine.kafka}`;
}
