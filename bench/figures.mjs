/** Figures of repeated runs, and how they are printed. */
import { statfsSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** The middle value and the extremes. */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

/** `median (min-max)`, or the value when there is one only. */
export function formatSpread(values, format = formatCount) {
  if (values.length === 1) return format(values[0]);
  const { median, min, max } = spread(values);
  return `${format(median)} (${format(min)}-${format(max)})`;
}

export function formatCount(value) {
  return Math.round(value).toLocaleString('en-US');
}

/** With `digits` behind the point. */
export function formatDecimal(digits) {
  return (value) => value.toFixed(digits);
}

/** A Markdown table, so that it can be copied into a document as it is. */
export function formatTable(head, rows) {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i].length)));
  const line = (cells) => `| ${cells.map((cell, i) => align(cell, widths[i], i)).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function align(cell, width, column) {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width);
}

/** What every figure depends on. */
export function describeMachine() {
  const [cpu] = cpus();
  return {
    cpu: cpu.model.trim(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    node: process.version,
  };
}

const fileSystems = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlay',
};

/** Kind of the file system of a directory: on tmpfs a flush costs nothing. */
export function fileSystemOf(dir) {
  const { type } = statfsSync(dir);
  return fileSystems[type] ?? `file system 0x${type.toString(16)}`;
}
