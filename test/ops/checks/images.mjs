/** Which images of others are run: one of each, by digest where it is known, and a Node.js without known holes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findImages } from '../../../.ci/images.mjs';
import { CheckError } from '../check.mjs';

/**
 * The first release of each major version whose strings of integers cannot be made to collide (CVE-2026-21717: a post
 * of 1 MB takes seconds to parse before), from nodejs.org's security release of March 2026. Newer majors have it.
 */
const oldestNode = { 20: '20.20.2', 22: '22.22.2', 24: '24.14.1', 25: '25.8.2' };

/** @param {import('../check.mjs').Site} site */
async function checkImages({ root }) {
  const images = findImages(root);
  const faults = [...digestFaults(images), ...nodeFaults(root, images)];
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  const tags = new Set(images.map(({ tag }) => tag));
  const open = new Set(images.filter(({ digest }) => digest === undefined).map(({ tag }) => tag));
  const warning =
    open.size > 0 ? `; warning: by tag alone (node .ci/images.mjs): ${[...open].join(', ')}` : '';
  return `${tags.size} images, one version and digest of each${warning}`;
}

function digestFaults(images) {
  const first = new Map();
  return images.flatMap(({ file, tag, digest }) => {
    if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
      return [`${file}: ${tag}: ${digest} is no digest`];
    // As `apache/kafka`: of one image there is one version.
    const name = tag.startsWith('node:') ? tag : tag.split(':')[0];
    const is = `${tag}${digest ? `@${digest}` : ''}`;
    const known = first.get(name) ?? { file, is };
    first.set(name, known);
    return known.is === is ? [] : [`${file}: ${is}, but ${known.file}: ${known.is}`];
  });
}

/** What is built and tested with is what is shipped. */
function nodeFaults(root, images) {
  const versions = new Map(
    images.flatMap(({ file, tag }) =>
      tag.startsWith('node:') ? [[file, /^node:([\d.]+)/.exec(tag)?.[1]]] : [],
    ),
  );
  const [shipped, built] = [versions.get('Dockerfile'), versions.get('.gitlab-ci.yml')];
  const faults = shipped === built ? [] : [`Dockerfile has Node.js ${shipped}, .gitlab-ci.yml has ${built}`];
  const [, matrix = ''] = /NODE: \[(.*)\]/.exec(readFileSync(join(root, '.gitlab-ci.yml'), 'utf8')) ?? [];
  const tested = [...matrix.matchAll(/"([\d.]+)"/g)].map(([, version]) => version);
  if (!tested.includes(shipped)) faults.push(`Node.js ${shipped}, which is shipped, is not tested`);
  for (const version of new Set([shipped, built, ...tested])) {
    const [major, ...rest] = String(version).split('.').map(Number);
    const [, ...oldest] = (oldestNode[major] ?? `${major}.0.0`).split('.').map(Number);
    if (rest[0] < oldest[0] || (rest[0] === oldest[0] && rest[1] < oldest[1]))
      faults.push(`Node.js ${version} has CVE-2026-21717, ${oldestNode[major]} has not`);
  }
  return faults;
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'images of others',
    tools: [],
    run: checkImages,
    mistakes: [
      {
        file: 'Dockerfile',
        find: 'node:24.21.0-trixie-slim',
        replace: 'node:24.11.0-trixie-slim',
        says: /24\.11\.0 has CVE-2026-21717/,
      },
      {
        file: '.gitlab-ci.yml',
        find: 'node:24.21.0-trixie',
        replace: 'node:24.20.0-trixie',
        says: /Dockerfile has Node\.js 24\.21\.0, \.gitlab-ci\.yml has 24\.20\.0/,
      },
      {
        file: 'docker/compose.yaml',
        find: 'prom/prometheus:v3.5.0@sha256:63805ebb8d2b3920190daf1cb14a60871b16fd38bed42b857a3182bc621f4996',
        replace: 'prom/prometheus:v3.5.0@sha256:63805ebb8d2b',
        says: /is no digest/,
      },
      {
        file: 'ansible/roles/kafka/defaults/main.yml',
        find: 'apache/kafka:4.1.0',
        replace: 'apache/kafka:4.1.1',
        says: /apache\/kafka:4\.1\.1.*, but docker\/compose\.yaml/,
      },
    ],
  },
];
