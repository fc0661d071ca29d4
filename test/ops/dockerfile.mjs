/** Reads a Dockerfile, as far as this project's go. */

/**
 * @typedef {object} Stage
 * @property {string} name
 * @property {string} from a stage, or an image
 * @property {Instruction[]} instructions
 */

/**
 * @typedef {object} Instruction
 * @property {string} name in upper case
 * @property {string} text without the flags in front
 * @property {Record<string, string>} flags
 */

/** @param {string} text @returns {Stage[]} with arguments in front of the first stage filled in */
export function parseDockerfile(text) {
  const lines = text
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n');
  const args = {};
  const stages = [];
  for (const line of lines) {
    const [, name, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (name === undefined) continue;
    if (name === 'ARG' && stages.length === 0) Object.assign(args, Object.fromEntries([rest.split('=', 2)]));
    else if (name === 'FROM') stages.push(readFrom(rest, args, stages.length));
    else stages.at(-1)?.instructions.push(readInstruction(name, rest));
  }
  return stages;
}

function readFrom(text, args, index) {
  const [from, , name = String(index)] = text
    .replace(/\$\{(\w+)\}/g, (_, key) => args[key] ?? '')
    .split(/\s+/);
  return { name, from, instructions: [] };
}

function readInstruction(name, text) {
  const flags = {};
  const rest = text.replace(/^(--[\w-]+=\S+\s+)+/, (found) => {
    for (const [, key, value] of found.matchAll(/--([\w-]+)=(\S+)/g)) flags[key] = value;
    return '';
  });
  return { name, text: rest, flags };
}
