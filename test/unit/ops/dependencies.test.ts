/** What is installed is what was chosen: by hash, without scripts, and nothing besides. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

interface Entry {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
}

const root = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const readJson = (path: string) => JSON.parse(read(path));

/** The packages of a lock file, without the project itself. */
function packagesOf(directory: string): readonly (readonly [string, Entry])[] {
  const { packages } = readJson(`${directory}package-lock.json`) as { packages: Record<string, Entry> };
  return Object.entries(packages).filter(([path]) => path !== '');
}

describe.each(['', '.ci/sbom/'])('the lock file in ./%s', (directory) => {
  test('has a hash of every package, so that none is installed unseen', () => {
    const without = packagesOf(directory).filter(([, { integrity }]) => !/^sha512-/.test(integrity ?? ''));
    expect(without.map(([path]) => path)).toEqual([]);
  });

  test('names no registry: whoever installs has one of their own', () => {
    expect(packagesOf(directory).filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    expect(read(`${directory}package-lock.json`)).not.toMatch(/https?:\/\/registry/);
  });

  test('has no install script that nobody has judged, and no judgement without one', () => {
    const names = packagesOf(directory)
      .filter(([, { hasInstallScript }]) => hasInstallScript)
      .map(([path]) => path.replace(/^.*node_modules\//, ''));
    const { allowScripts } = readJson(`${directory}package.json`) as {
      allowScripts: Record<string, boolean>;
    };
    expect(Object.keys(allowScripts).sort()).toEqual([...new Set(names)].sort());
  });
});

test('no install script is run: what they would build comes as a binary, with a hash', () => {
  expect(new Set(Object.values(readJson('package.json').allowScripts))).toEqual(new Set([false]));
  expect(read('.npmrc')).toMatch(/^strict-allow-scripts=true$/m);
});

test('every version is exact', () => {
  const { dependencies, devDependencies, optionalDependencies } = readJson('package.json');
  const versions = Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies });
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(String(version)))).toEqual([]);
});

test('the list of binaries of uWebSockets.js is that of package.json', () => {
  const { packages, upstream } = readJson('.ci/uws-binaries.json') as {
    packages: Record<string, { version: string; sha256: string; tag: string; file: string }>;
    upstream: Record<string, { source: string | null; files: Record<string, string | null> }>;
  };
  const wanted = Object.entries(readJson('package.json').optionalDependencies).filter(([name]) =>
    name.startsWith('@uwsjs/'),
  );
  expect(Object.entries(packages).map(([name, { version }]) => [name, version])).toEqual(wanted);
  for (const { tag, file, sha256 } of Object.values(packages)) {
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    const { source, files } = upstream[tag] ?? { source: null, files: {} };
    expect(files).toHaveProperty([file]);
    // A hash is known from somewhere.
    expect(files[file] === null).toBe(source === null);
  }
});

/** Runs whatever the registry has under that name today, unless the project or its lock file has it. */
const runner =
  /\b(?:npx|npm exec|npm x|pnpm dlx|yarn dlx|bunx)((?:\s+--?[\w-]+(?:[= ][\w./@-]+)?)*)\s+([@\w./-]+)/g;

test('no command of the repository runs a package that is not locked', () => {
  const bins = new Set(readdirSync(`${root}node_modules/.bin`));
  const found: string[] = [];
  for (const file of files('')) {
    for (const [command, flags = '', name = ''] of read(file).matchAll(runner)) {
      const isLocked = name === 'millrace' || bins.has(name) || / --(?:no|offline)\b/.test(flags);
      if (!isLocked) found.push(`${file}: ${command}`);
    }
  }
  expect(found).toEqual([]);
});

/** What people and machines run commands from. */
function files(directory: string): readonly string[] {
  return readdirSync(`${root}${directory}`, { withFileTypes: true }).flatMap((entry) => {
    const path = `${directory}${entry.name}`;
    if (/^(?:node_modules|dist|data|\.git|\.cache|\.terraform|results)$/.test(entry.name)) return [];
    if (entry.isDirectory()) return files(`${path}/`);
    const isOfTests = path === 'test/unit/ops/dependencies.test.ts';
    const isText = /\.(?:md|ya?ml|sh|mjs|json|j2|tftpl|ts)$|^[^.]*$/.test(entry.name);
    return entry.isFile() && isText && !isOfTests ? [path] : [];
  });
}
