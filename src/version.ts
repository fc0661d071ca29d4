import { readFileSync } from 'node:fs';

/** Version of this program, from its package.json. */
export const version: string = readVersion();

function readVersion(): string {
  const file = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const parsed = JSON.parse(file) as { readonly version: string };
  return parsed.version;
}
