import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openEmbeddedInspector } from '../../src/buffer/embedded/inspector.ts';
import { openEmbeddedReader } from '../../src/buffer/embedded/reader.ts';
import { openEmbeddedWriter } from '../../src/buffer/embedded/writer.ts';
import { describeBuffer } from '../support/buffer-conformance.ts';

describeBuffer('embedded log', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-log-'));
  const options = { dir, topic: 'events', partitions: 3, maxBytes: 1024 ** 3 };
  return {
    partitions: 3,
    createWriter: () => openEmbeddedWriter({ ...options, retentionMs: 86_400_000 }),
    createReader: (group) => openEmbeddedReader({ ...options, group }),
    createInspector: (group) => openEmbeddedInspector({ ...options, group }),
    cleanup: () => rm(dir, { recursive: true, force: true }),
  };
});

test('an inspector makes no log where there is none', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-log-'));
  const options = { dir, topic: 'events', maxBytes: 1024 ** 3, group: 'millrace' };
  await expect(openEmbeddedInspector(options)).rejects.toThrow(/no embedded log.*--data-dir/);
  expect(await readdir(dir)).toEqual([]);
  await rm(dir, { recursive: true, force: true });
});
