/** docs/runbook.md, which alerts and dashboards link to. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Anchors and titles of its sections, as GitLab and GitHub make them. */
export function readSections(root) {
  return [...readRunbook(root).matchAll(/^#+ (.+)$/gm)].map(([, title]) => [
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
    title,
  ]);
}

export function readRunbook(root) {
  return readFileSync(join(root, 'docs/runbook.md'), 'utf8');
}
