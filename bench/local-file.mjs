/** How fast the engine takes rows from a local file. Run as a program, it is the process that is measured. */
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { encodeRows, recordsOf } from './filled-buffer.mjs';
import { importBuilt } from './program.mjs';

const execute = promisify(execFile);
const chunkRows = 100_000;

/** Writes rows as the streamer sends them into a file of `dir`. @returns its path, and the columns */
export async function writeRowsFile(dir, { rows, values, dataType }) {
  const path = join(dir, 'rows.native');
  const identity = { topic: 'events', topicId: '00000000-0000-4000-8000-000000000000', partition: 0 };
  let columns = [];
  await writeFile(path, '');
  for (let first = 0; first < rows; first += chunkRows) {
    const count = Math.min(chunkRows, rows - first);
    const encoded = await encodeRows(recordsOf(values, count, first), identity, dataType);
    columns = encoded.columns;
    await writeFile(path, encoded.body, { flag: 'a' });
  }
  return { path, columns };
}

/**
 * Inserts the file into a table of its own, in a new engine in a process of its own, with one statement and the
 * engine's own settings for blocks and threads.
 * @param createSql statement that makes `events` in the current database
 * @returns rows a second, and the engine's CPU for each, in microseconds
 */
export async function insertFile({ dir, file, createSql }) {
  const dataDir = join(dir, 'local-file');
  const script = fileURLToPath(import.meta.url);
  try {
    const { stdout } = await execute(process.execPath, [
      script,
      JSON.stringify({ dataDir, ...file, createSql }),
    ]);
    return JSON.parse(stdout);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function measure({ dataDir, path, columns, createSql }) {
  const { Engine } = await importBuilt('engine/engine.js');
  const { prepareFiles } = await importBuilt('engine/access.js');
  const engine = Engine.open(await prepareFiles(dataDir, []));
  // As the streamer has it; all else is up to the engine.
  const settings = new Map([['date_time_input_format', 'best_effort']]);
  const scope = { role: 'owner', database: undefined, settings, params: new Map(), readonly: false };
  await engine.read(createSql, 'Null', scope);
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const { rowsWritten } = await engine.write(
    `INSERT INTO events (${columns.join(', ')}) FROM INFILE '${path}' COMPRESSION 'none' FORMAT Native`,
    scope,
  );
  const { user, system } = process.cpuUsage(cpuBefore);
  const seconds = (performance.now() - startedAt) / 1e3;
  await engine.close();
  return { rowsPerSecond: rowsWritten / seconds, cpuMicrosPerRow: (user + system) / rowsWritten };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(JSON.stringify(await measure(JSON.parse(process.argv[2]))));
}
