/** The table of docs/delivery.md that says for each rule of the protocol how it is broken and which tests notice. */
import { existsSync } from 'node:fs';
import { mutants } from '../test/support/mutants.mjs';
import { syncTable } from './marked-table.mjs';

const page = 'docs/delivery.md';
const marks = ['<!-- mutants: written by tools/mutant-table.mjs -->', '<!-- end of mutants -->'];
const usage = 'Usage: node tools/mutant-table.mjs --check | --write\n';

function formatTable() {
  const rows = mutants.map(({ name, rule, tests }) => {
    const links = tests.map((file) => `[${file.replace(/^test\/|\.test\.ts$/g, '')}](../${file})`);
    return `| ${rule} | ${name} | ${links.join(', ')} |`;
  });
  return `| rule | broken by | tests that must notice |\n| --- | --- | --- |\n${rows.join('\n')}\n`;
}

function main([mode]) {
  if (mode !== '--check' && mode !== '--write') return fail(usage, 2);
  const missing = mutants.flatMap(({ tests }) => tests).find((file) => !existsSync(file));
  if (missing !== undefined) return fail(`a mutant names ${missing}, which does not exist\n`, 1);
  if (syncTable({ page, marks, table: formatTable(), mode: mode.slice(2) })) return 0;
  return fail(`${page} does not have the mutants of test/support/mutants.mjs: run npm run docs\n`, 1);
}

function fail(text, code) {
  process.stderr.write(text);
  return code;
}

process.exitCode = main(process.argv.slice(2));
