/** Compares the binaries of uWebSockets.js that npm installed with those of upstream's tags. `--help` says how. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const list = '.ci/uws-binaries.json';
const help = `Compares the binaries of uWebSockets.js in node_modules with those of upstream's tags, by their SHA-256.

They come as packages @uwsjs/..., whose repository is not upstream's. ${list} has two hashes of each: that of
what the registry served when the package was chosen, and that of the file in upstream's tag, with where it is known from.

Usage: npm run check:uws -- [options]

  --fetch        Downloads the files of upstream's tags first, about 7 MB each, and writes their hashes into the list.
  --from <url>   Where a tag's files are, as <url>/<tag>/<file>.
                 Default: https://raw.githubusercontent.com/uNetworking/uWebSockets.js
  --root <dir>   The project to check; default: the one that this file is in.
  --help

Exit codes: 0 all that is installed is upstream's, 1 something differs, 2 wrong usage,
69 not compared: a hash of upstream's is not known, cannot be fetched, or nothing is installed.
`;
const exitCodes = { same: 0, differs: 1, usage: 2, unavailable: 69 };
const print = (line) => process.stdout.write(`${line}\n`);

async function main() {
  const { values: options } = readOptions();
  if (options.help) {
    print(help.trimEnd());
    return exitCodes.same;
  }
  const path = join(options.root, list);
  const known = JSON.parse(readFileSync(path, 'utf8'));
  if (options.fetch) {
    const moved = await fetchAll(known, options.from);
    if (moved.length > 0) {
      for (const fault of moved) print(`DIFFERS      ${fault}`);
      return exitCodes.differs;
    }
    writeFileSync(path, `${JSON.stringify(known, null, 2)}\n`);
  }
  const results = Object.entries(known.packages).flatMap(([name, expected]) =>
    compare(join(options.root, 'node_modules', name), { name, expected, upstream: known.upstream }),
  );
  if (results.length === 0) print('not compared: no binary of uWebSockets.js is installed');
  for (const { word, text } of results) print(`${word.padEnd(12)} ${text}`);
  if (results.some(({ word }) => word === 'DIFFERS')) return exitCodes.differs;
  return results.length > 0 && results.every(({ word }) => word === 'ok')
    ? exitCodes.same
    : exitCodes.unavailable;
}

function readOptions() {
  return parseArgs({
    options: {
      fetch: { type: 'boolean', default: false },
      from: { type: 'string', default: 'https://raw.githubusercontent.com/uNetworking/uWebSockets.js' },
      root: { type: 'string', default: fileURLToPath(new URL('..', import.meta.url)) },
      help: { type: 'boolean', default: false, short: 'h' },
    },
  });
}

/** One package: nothing when it is not installed, as those of other versions of Node.js are not. */
function compare(directory, { name, expected, upstream }) {
  if (!existsSync(directory)) return [];
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const is = `${name}@${version}`;
  if (version !== expected.version)
    return [differs(`${is} is not the version of ${list}, ${expected.version}`)];
  const sha256 = hash(readFileSync(join(directory, 'uws.node')));
  if (sha256 !== expected.sha256)
    return [differs(`${is} is not what the registry served: ${sha256} instead of ${expected.sha256}`)];
  const { source, files } = upstream[expected.tag];
  const theirs = files[expected.file];
  if (theirs === null)
    return [
      {
        word: 'not compared',
        text: `${is}: the hash of ${expected.tag}/${expected.file} is not known; --fetch`,
      },
    ];
  if (sha256 !== theirs)
    return [differs(`${is} is ${sha256}, ${expected.tag}/${expected.file} is ${theirs}`)];
  return [{ word: 'ok', text: `${is} is ${expected.tag}/${expected.file}, says ${source}` }];
}

/** Writes the hashes into the list; gives what contradicts it: a tag that has moved is a finding, and not written over. */
async function fetchAll({ upstream }, from) {
  const moved = [];
  for (const [tag, entry] of Object.entries(upstream)) {
    for (const [file, before] of Object.entries(entry.files)) {
      const sha256 = hash(await download(`${from}/${tag}/${file}`));
      if (before !== null && before !== sha256)
        moved.push(`${tag}/${file} is ${sha256}, the list says ${before}`);
      entry.files[file] = sha256;
    }
    entry.source = `${from}/${tag}, downloaded on ${new Date().toISOString().slice(0, 10)}`;
  }
  return moved;
}

async function download(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(120_000) }).catch((error) => {
    throw unavailable(`${url}: ${error.cause?.message ?? error.message}`);
  });
  if (!answer.ok) throw unavailable(`${url} answers ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}

function hash(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

function differs(text) {
  return { word: 'DIFFERS', text };
}

function unavailable(message) {
  return Object.assign(new Error(`not compared: ${message}`), { exitCode: exitCodes.unavailable });
}

try {
  process.exitCode = await main();
} catch (error) {
  const isUsage = String(error.code).startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`${isUsage || error.exitCode !== undefined ? error.message : error.stack}\n`);
  process.exitCode = isUsage ? exitCodes.usage : (error.exitCode ?? exitCodes.differs);
}
