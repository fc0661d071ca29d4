import { chmodSync, lstatSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createSite, post, runProgram, startProgram, temporaryDirectory, until } from '../support/program.ts';

const directory = temporaryDirectory();

afterAll(() => directory.remove());

/** Everything below a path that group or others have any right to; links have no mode of their own. */
function openTo(path: string, root = path): string[] {
  const { mode } = lstatSync(path);
  const isOpen = (mode & 0o077) !== 0 && !lstatSync(path).isSymbolicLink();
  const below = lstatSync(path).isDirectory()
    ? readdirSync(path).flatMap((name) => openTo(join(path, name), root))
    : [];
  return [...(isOpen ? [`${relative(root, path)} ${(mode & 0o777).toString(8)}`] : []), ...below];
}

test('whatever start creates is for its user alone, under the widest umask', async () => {
  const dataDir = join(directory.path, 'all');
  const site = await createSite(dataDir);
  const before = process.umask(0);
  const program = await startProgram(['start', ...site.flags]).finally(() => process.umask(before));
  try {
    expect((await post(site.collector, { event: 'view' })).status).toBe(200);
    expect(openTo(dataDir)).toEqual([]);
    for (const name of ['millrace.lock', 'log/events/data.mdb', 'log/events/lock.mdb', 'clickhouse'])
      expect(statSync(join(dataDir, name)).mode & 0o777).toBe(name === 'clickhouse' ? 0o700 : 0o600);
  } finally {
    await program.stop();
  }
});

/** A collector over a data directory, which needs nothing else. */
async function collect(dataDir: string) {
  const site = await createSite(dataDir);
  const listen = site.flags.slice(2, 4);
  return { site, args: ['collect', '--data-dir', dataDir, ...listen] };
}

test('a directory of an earlier version is tightened, the log says so, and its events are still there', async () => {
  const dataDir = join(directory.path, 'earlier');
  const first = await collect(dataDir);
  const program = await startProgram(first.args);
  expect(await (await post(first.site.collector, { event: 'one' })).json()).toMatchObject({ offset: 0 });
  await program.stop();
  for (const name of ['.', 'log', 'log/events']) chmodSync(join(dataDir, name), 0o755);
  for (const name of ['data.mdb', 'lock.mdb']) chmodSync(join(dataDir, 'log/events', name), 0o644);

  const second = await collect(dataDir);
  const again = await startProgram(second.args);
  try {
    await until('a warning', async () => /others could read 5 files/.test(again.output.stderr));
    expect(openTo(dataDir)).toEqual([]);
    expect(await (await post(second.site.collector, { event: 'two' })).json()).toMatchObject({ offset: 1 });
  } finally {
    await again.stop();
  }
});

test('a link within it is refused, and nothing is written where it leads', async () => {
  const dataDir = join(directory.path, 'linked');
  const elsewhere = join(directory.path, 'elsewhere');
  for (const path of [dataDir, elsewhere]) mkdirSync(path);
  symlinkSync(elsewhere, join(dataDir, 'log'));
  for (const command of ['collect', 'start']) {
    const site = await createSite(dataDir);
    const { code, stderr } = await runProgram([
      command,
      ...(command === 'start' ? site.flags : site.flags.slice(0, 4)),
    ]);
    expect([code, stderr]).toEqual([78, expect.stringContaining('log is a symbolic link')]);
  }
  const { stdout } = await runProgram(['check', '--data-dir', dataDir]);
  expect(stdout).toMatch(/^FAULT .*log is a symbolic link/m);
  expect(readdirSync(elsewhere)).toEqual([]);
});
