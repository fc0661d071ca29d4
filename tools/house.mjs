/** What the sources look like as a house: who imports whom, and figures that must not get worse. `--help` says how. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { parseAst } from 'vitest/node';
import { syncTable } from './marked-table.mjs';
import { walk } from './walk.mjs';

const help = `Usage: node tools/house.mjs [--check | --write]   the table "Who may import whom" of docs/architecture.md
       node tools/house.mjs --figures [folder ...]   one table of figures, a column for each folder of sources

--check  Fails when the table in docs/architecture.md is not that of the code, and when files import each other in a circle.
--write  Writes the table.
Exit codes: 0 ok, 1 a difference or a circle, 2 wrong usage.
`;
const page = 'docs/architecture.md';
const marks = ['<!-- imports: written by tools/house.mjs -->', '<!-- end of imports -->'];
const longFunction = 70;

/** All sources below a folder: their lines, the files that they import, the names that they export and import. */
function readHouse(root) {
  if (!existsSync(root)) return new Map();
  const files = readdirSync(root, { recursive: true })
    .filter((name) => /\.(ts|mjs)$/.test(name))
    .sort();
  return new Map(files.map((name) => [name, readSource(root, name)]));
}

function readSource(root, name) {
  const text = readFileSync(join(root, name), 'utf8');
  const program = parseAst(text, { lang: 'ts' });
  const source = { lines: text.split('\n').length - 1, imports: [], exports: [], functions: [] };
  const lineAt = (offset) => text.slice(0, offset).split('\n').length;
  visit(program, (node) => {
    if (
      (node.type === 'ImportDeclaration' || node.type === 'ImportExpression') &&
      node.source?.value?.startsWith('.')
    ) {
      const names = node.specifiers?.map(({ imported }) => imported?.name ?? '*') ?? ['*'];
      source.imports.push({ file: join(dirname(name), node.source.value), names });
    }
    if (node.type === 'ExportNamedDeclaration' && node.declaration != null) {
      const declared = node.declaration;
      const own = declared.declarations?.map(({ id }) => id.name) ?? [declared.id.name];
      source.exports.push(...own);
    }
    if (/Function/.test(node.type) && node.body != null)
      source.functions.push(lineAt(node.end) - lineAt(node.start) + 1);
  });
  return source;
}

function visit(node, take) {
  if (node === null || typeof node !== 'object') return;
  if (Array.isArray(node)) {
    for (const child of node) visit(child, take);
    return;
  }
  if (typeof node.type === 'string') take(node);
  for (const child of Object.values(node)) visit(child, take);
}

/** The room of a file: its folder, with buffer/kafka and the like by themselves. */
function roomOf(name) {
  const folder = dirname(name);
  return folder === '.' ? name : folder;
}

/** For each room those that its files import, itself left out. */
function readImports(house) {
  const rooms = new Map();
  for (const [name, { imports }] of house) {
    const own = roomOf(name);
    const others = rooms.get(own) ?? new Set();
    rooms.set(own, others);
    for (const { file } of imports) if (roomOf(file) !== own) others.add(roomOf(file));
  }
  return rooms;
}

/** Groups of nodes that reach each other. */
function findCycles(edges) {
  const reach = new Map();
  const reachOf = (node) => {
    const seen = new Set();
    const open = [...(edges.get(node) ?? [])];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...(edges.get(next) ?? []));
    }
    return seen;
  };
  for (const node of edges.keys()) reach.set(node, reachOf(node));
  return [...edges.keys()].filter((node) => reach.get(node).has(node));
}

function fileEdges(house) {
  return new Map([...house].map(([name, { imports }]) => [name, imports.map(({ file }) => file)]));
}

/** The single files that everything may use are left out: the table is about rooms. */
function formatImports(rooms) {
  const lines = [];
  for (const [room, others] of [...rooms].sort(([a], [b]) => a.localeCompare(b))) {
    if (room.endsWith('.ts')) continue;
    const list = [...others].filter((other) => !other.endsWith('.ts')).sort();
    lines.push(`| ${room} | ${list.length === 0 ? 'nothing' : list.join(', ')} |`);
  }
  return `| folder | imports |\n| --- | --- |\n${lines.join('\n')}\n`;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0;

/**
 * Exports that neither another file of the sources names in an import nor one of the tests, benchmarks and tools beside
 * them. Those of modules that are imported as a whole, or while the program runs, are not counted.
 */
function countUnused(house, root) {
  const used = new Set();
  const note = (folder, { imports }) => {
    for (const { file, names } of imports)
      for (const name of names) used.add(`${relative(root, join(folder, file))}:${name}`);
  };
  for (const source of house.values()) note(root, source);
  for (const folder of ['test', 'bench', 'tools'].map((name) => join(dirname(root), name)))
    for (const source of readHouse(folder).values()) note(folder, source);
  const isUnused = (name) => (one) => !used.has(`${name}:${one}`);
  const isWhole = ([name]) => used.has(`${name}:undefined`) || used.has(`${name}:*`);
  const named = [...house].filter((entry) => !isWhole(entry));
  return named.flatMap(([name, { exports }]) => exports.filter(isUnused(name))).length;
}

function readFigures(root) {
  const house = readHouse(root);
  const rooms = readImports(house);
  const lines = [...house.values()].map((source) => source.lines);
  const first = house.has('streamer/protocol/deliver.ts')
    ? 'streamer/protocol/deliver.ts'
    : 'streamer/deliver.ts';
  const landings = walk(join(root, first), 'deliverPartition', 'partition');
  const stays = landings.filter((file, i) => file !== landings[i - 1]);
  return [
    ['files', house.size],
    ['lines', lines.reduce((a, b) => a + b, 0)],
    ['lines of the median file', median(lines)],
    ['lines of the largest file', Math.max(...lines)],
    [
      `functions of more than ${longFunction} lines`,
      [...house.values()].flatMap(({ functions }) => functions).filter((n) => n > longFunction).length,
    ],
    ['files that import each other in a circle', findCycles(fileEdges(house)).length],
    ['folders that import each other in a circle', findCycles(rooms).length],
    ['exports that no other file imports', countUnused(house, root)],
    ['returns of a partition to a file that it had left', stays.length - new Set(stays).size],
  ];
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      check: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      figures: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return print(help, 0);
  if (values.figures) {
    const columns = (positionals.length === 0 ? ['src'] : positionals).map(readFigures);
    const rows = columns[0].map(
      ([name], i) =>
        `| ${[name, ...columns.map((column) => column[i][1].toLocaleString('en-US'))].join(' | ')} |`,
    );
    return print(`${rows.join('\n')}\n`, 0);
  }
  const house = readHouse('src');
  const rooms = readImports(house);
  const table = formatImports(rooms);
  if (!values.check && !values.write) return print(table, 0);
  const circles = [...findCycles(fileEdges(house)), ...findCycles(rooms)];
  if (circles.length > 0) return print(`in a circle: ${circles.join(', ')}\n`, 1);
  if (!syncTable({ page, marks, table, mode: values.write ? 'write' : 'check' }))
    return print(`${page} does not say who imports whom: run npm run docs\n`, 1);
  return 0;
}

function print(text, code) {
  process.stdout.write(text);
  return code;
}

process.exitCode = main();
