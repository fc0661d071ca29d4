/** The statements of docs/operations.md for backups, by the real engine into a server that speaks S3. */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckError, endProgram } from '../check.mjs';
import { freePort, until } from '../network.mjs';
import { toolEnvironment } from '../tools.mjs';

const bucket = 'millrace-backups';

async function checkBackup({ root, scratch }) {
  const statements = readStatements(readFileSync(join(root, 'docs/operations.md'), 'utf8'));
  const undo = [];
  try {
    const s3 = await startS3(scratch, undo);
    const query = startEngine(root, scratch, undo);
    await query(statements.keys.replace(/https:[^']*/, `${s3}/${bucket}/`).replaceAll("'...'", "'test'"));
    await query('CREATE DATABASE millrace');
    await query('CREATE TABLE millrace.events (n UInt32, data JSON) ENGINE = MergeTree ORDER BY n');
    const insert = (from) =>
      query(`INSERT INTO millrace.events SELECT number, '{"a":1}' FROM numbers(${from}, 1000)`);
    for (const [index, statement] of statements.backups.entries()) {
      await insert(index * 1_000);
      await query(statement);
      const state = await query(statements.state);
      if (!state.includes('BACKUP_CREATED')) throw new CheckError(`after ${statement}: ${state}`);
    }
    await query('DROP DATABASE millrace SYNC');
    await query(statements.restore);
    const rows = await query('SELECT count(), max(n) FROM millrace.events');
    if (rows !== '2000\t1999') throw new CheckError(`after ${statements.restore}: rows and last are ${rows}`);
  } finally {
    for (const step of undo.reverse()) await step();
  }
  return `${statements.backups.length} backups to S3 and the way back, by the statements of docs/operations.md`;
}

function readStatements(text) {
  const sql = [...text.matchAll(/^ *```sql\n([\s\S]*?)^ *```/gm)].flatMap(([, block]) => block.split(';'));
  const starting = (start) =>
    sql.map((statement) => statement.trim()).filter((statement) => statement.startsWith(start));
  const starts = ['CREATE NAMED COLLECTION', 'BACKUP DATABASE millrace', 'RESTORE', 'SELECT name, status'];
  const [[keys], backups, [restore], [state]] = starts.map(starting);
  if (!keys || backups.length !== 2 || !restore || !state)
    throw new CheckError('docs/operations.md has no statements for backups');
  return { keys, backups, restore, state };
}

/** moto: an S3 of tests, over HTTP. */
async function startS3(scratch, undo) {
  const port = await freePort();
  const child = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], {
    cwd: scratch,
    env: toolEnvironment,
    stdio: 'ignore',
  });
  undo.push(() => endProgram(child));
  const url = `http://127.0.0.1:${port}`;
  const makeBucket = async () => (await fetch(`${url}/${bucket}`, { method: 'PUT' })).ok;
  await until('moto_server to start', makeBucket, { child });
  return url;
}

function startEngine(root, scratch, undo) {
  const child = fork(join(root, 'test/ops/chdb-session.mjs'), [join(scratch, 'engine')], { execArgv: [] });
  undo.push(() => endProgram(child));
  const ended = once(child, 'exit').then(([code]) => [{ fault: `the engine ended with ${code}` }]);
  return async (sql) => {
    child.send(sql);
    const [{ text, fault }] = await Promise.race([once(child, 'message'), ended]);
    if (fault !== undefined) throw new CheckError(`${sql}\n${fault}`);
    return text;
  };
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'backup to S3',
    heavy: true,
    tools: ['moto_server'],
    run: checkBackup,
    mistakes: [
      {
        file: 'docs/operations.md',
        find: 'CREATE NAMED COLLECTION backups',
        replace: 'CREATE NAMED COLLECTION s3',
        says: /backups/,
      },
      {
        file: 'docs/operations.md',
        find: "SETTINGS base_backup = S3(backups, 'full-2026-11-16')",
        replace: "SETTINGS base_backup = S3(backups, 'full')",
        says: /BACKUP_ENTRY_NOT_FOUND|BACKUP_NOT_FOUND|not found/,
      },
      {
        file: 'docs/operations.md',
        find: 'RESTORE DATABASE millrace FROM',
        replace: 'RESTORE DATABASE mill FROM',
        says: /mill/,
      },
    ],
  },
];
