/** Benchmarks import the built program by path and name, which no compiler checks. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const folders = { importBuilt: 'src', importTool: 'tools' } as const;
const scripts = readdirSync('bench').filter((name) => name.endsWith('.mjs'));

/** What a script asks for: `const { names } = await importBuilt('path.js')`, or the path alone. */
function asked(script: string): { path: string; names: string[] }[] {
  const text = readFileSync(`bench/${script}`, 'utf8');
  const pattern = /(?:\{([^{}]*)\}\s*=\s*await\s+)?(importBuilt|importTool)\(\s*'([^']+)\.js'/g;
  return [...text.matchAll(pattern)].map(([, names = '', kind, path]) => ({
    path: `${folders[kind as keyof typeof folders]}/${path}.ts`,
    names: names
      .split(',')
      .map((name) => name.trim().split(':')[0] ?? '')
      .filter((name) => name !== ''),
  }));
}

test.each(scripts)('%s finds what it imports', (script) => {
  for (const { path, names } of asked(script)) {
    expect([path, existsSync(path)]).toEqual([path, true]);
    const source = readFileSync(path, 'utf8');
    for (const name of names)
      expect([
        path,
        source.match(new RegExp(`^export .*\\b(?:function\\*?|const|class) ${name}\\b`, 'm'))?.length,
      ]).toEqual([path, 1]);
  }
});
