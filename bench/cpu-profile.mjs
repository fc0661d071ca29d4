/** Where the main thread of a process spends its time, from the profile that `node --cpu-prof` writes when it ends. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** Functions with the most time of their own, in percent of the time that it was not idle. */
export async function readSelfTimes(dir, count = 15) {
  const name = (await readdir(dir)).find((file) => file.endsWith('.cpuprofile'));
  const { nodes, samples, timeDeltas } = JSON.parse(await readFile(join(dir, name), 'utf8'));
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const micros = new Map();
  samples.forEach((id, i) => {
    const function_ = names.get(id);
    micros.set(function_, (micros.get(function_) ?? 0) + timeDeltas[i]);
  });
  micros.delete('(idle)');
  const total = [...micros.values()].reduce((sum, value) => sum + value, 0);
  return [...micros]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([function_, value]) => ({ function: function_, percent: (100 * value) / total }));
}

function nameOf({ functionName, url, lineNumber }) {
  const name = functionName || '(anonymous)';
  return url === '' ? name : `${name} ${basename(url)}:${lineNumber + 1}`;
}

/** The functions as text. @param what was profiled */
export function formatSelfTimes(what, selfTimes) {
  const lines = selfTimes.map(
    ({ function: name, percent }) => `${percent.toFixed(1).padStart(6)} %  ${name}`,
  );
  return [`\n${what}: time of the main thread by function, native code under its caller`, ...lines].join(
    '\n',
  );
}
