/** Finds the container images that the repository names, and pins them by digest. `--help` says how. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const help = `Lists the container images that pipeline, Dockerfile, compose files, roles and modules name by a tag alone.

Usage: node .ci/images.mjs [options]

  --write    Asks the registries for the digest behind each tag, by \`docker buildx imagetools inspect\`, and writes it
             behind the tag, in all of these files; a digest that is there is replaced by that of today.
  --help

A tag can be moved to another image, a digest cannot. What has one gets no fixes by itself: run this again now and then.
Exit codes: 0, 1 a registry did not answer, 2 wrong usage.
`;
/** Where a file names images; the first group is the name with its tag, the second the digest, if any. */
const name = String.raw`([a-z0-9][\w./-]*:v?[\w.-]+)(@sha256:[\w]*)?`;
const places = [
  { files: ['.gitlab-ci.yml'], pattern: new RegExp(`(?<=^  \\w+: &\\w+ )${name}$`, 'gm') },
  { files: ['Dockerfile'], pattern: new RegExp(`(?<=^ARG \\w+_IMAGE=)${name}$`, 'gm') },
  {
    files: ['docker/compose.yaml', 'docker/vector/compose.yaml'],
    pattern: new RegExp(String.raw`(?<=^\s+image: (?:&\w+ )?)(?!millrace:)${name}$`, 'gm'),
  },
  { files: 'ansible/roles/*/defaults/main.yml', pattern: new RegExp(`(?<=^\\w+_image: )${name}$`, 'gm') },
  {
    files: 'terraform/modules/*/variables.tf',
    pattern: new RegExp(`(?<=^  default += ")${name}(?="$)`, 'gm'),
  },
];

/**
 * @typedef {object} Image
 * @property {string} file path from the root of the project
 * @property {string} tag name and tag, as `alpine:3.23.5`
 * @property {string | undefined} digest as `sha256:...`; undefined when only the tag is named
 */

/**
 * @param {string} root directory of the project
 * @returns {Image[]} in the order of the files; one for each place that names it
 */
export function findImages(root) {
  return filesOf(root).flatMap(({ file, pattern }) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(pattern)].map(([, tag, digest]) => ({
      ...{ file, tag },
      digest: digest?.slice(1),
    })),
  );
}

function filesOf(root) {
  return places.flatMap(({ files, pattern }) => {
    const [before, after] = typeof files === 'string' ? files.split('*') : [];
    const all =
      before === undefined
        ? files
        : readdirSync(join(root, before)).map((part) => `${before}${part}${after}`);
    return all.filter((file) => existsSync(join(root, file))).map((file) => ({ file, pattern }));
  });
}

function main() {
  const options = { write: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } };
  const { values } = parseArgs({ options });
  if (values.help) return process.stdout.write(help);
  const root = fileURLToPath(new URL('..', import.meta.url));
  if (values.write) pin(root);
  for (const { file, tag, digest } of findImages(root))
    if (digest === undefined) process.stdout.write(`${file}: ${tag} has no digest\n`);
}

function pin(root) {
  const digests = new Map();
  for (const { tag } of findImages(root)) if (!digests.has(tag)) digests.set(tag, askRegistry(tag));
  for (const { file, pattern } of filesOf(root)) {
    const text = readFileSync(join(root, file), 'utf8');
    const pinned = text.replace(pattern, (_, tag) => `${tag}@${digests.get(tag)}`);
    if (pinned !== text) writeFileSync(join(root, file), pinned);
  }
}

/** Of the list of all platforms, not of the image for one. */
function askRegistry(tag) {
  const format = ['--format', '{{.Manifest.Digest}}'];
  const said = execFileSync('docker', ['buildx', 'imagetools', 'inspect', tag, ...format], {
    encoding: 'utf8',
  });
  const digest = said.trim();
  if (!/^sha256:[0-9a-f]{64}$/.test(digest))
    throw new Error(`${tag}: the registry gave no digest: ${digest}`);
  return digest;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    main();
  } catch (error) {
    const isUsage = String(error.code).startsWith('ERR_PARSE_ARGS');
    process.stderr.write(`${error.message}\n`);
    process.exitCode = isUsage ? 2 : 1;
  }
}
