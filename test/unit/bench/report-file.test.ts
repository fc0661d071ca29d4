import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createReportFile } from '../../../src/bench/report.ts';
import { temporaryDirectory } from '../../support/program.ts';

let directory: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => directory.remove());

const path = () => join(directory.path, 'report.json');

test('is there when it is whole, and leaves nothing beside it', () => {
  const file = createReportFile(path());
  file.write('{}\n');
  file.discard();
  expect(readFileSync(path(), 'utf8')).toBe('{}\n');
  expect(readdirSync(directory.path)).toEqual(['report.json']);
});

test('a run that fails leaves nothing, not even what was there before', () => {
  writeFileSync(path(), 'of an earlier run');
  createReportFile(path()).discard();
  expect(readdirSync(directory.path)).toEqual([]);
});

test('what cannot be written is found out at once; what is no file stays', () => {
  expect(() => createReportFile('/no/such/dir/file')).toThrow(/ENOENT/);
  expect(() => createReportFile(directory.path)).toThrow(/EISDIR/);
  createReportFile('/dev/null').write('{}');
});
