import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Body, InsertFiles } from '../../../src/engine/body.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-spool-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A body in pieces. */
function bodyOf(...chunks: string[]): Body {
  const left = chunks.map((chunk) => Buffer.from(chunk));
  return { next: async () => left.shift() } as unknown as Body;
}

it('holds each body in a file of its own, for as long as it is used, and for nobody else', async () => {
  await writeFile(join(directory, 'of-a-killed-process'), 'x');
  const spool = await InsertFiles.open(directory);
  expect(await readdir(directory)).toEqual([]);
  const read = await spool.with(bodyOf('ab', '', 'c'), async (path) => {
    expect((await readdir(directory)).length).toBe(1);
    return await readFile(path, 'utf8');
  });
  expect(read).toBe('abc');
  expect(await readdir(directory)).toEqual([]);
});

it('refuses what would make all of them too large, says so, and has room again afterwards', async () => {
  const spool = await InsertFiles.open(directory, 10);
  let end = () => {};
  const running = spool.with(bodyOf('123456'), () => new Promise<void>((resolve) => (end = resolve)));
  await expect.poll(() => readdir(directory)).toHaveLength(1);
  const refused = spool.with(bodyOf('12', '345'), async () => 'used');
  await expect(refused).rejects.toMatchObject({ code: 202, status: 503 });
  expect(await spool.with(bodyOf('1234'), async () => 'used')).toBe('used');
  end();
  await running;
  expect(await spool.with(bodyOf('1234567890'), async () => 'used')).toBe('used');
  expect(await readdir(directory)).toEqual([]);
});
