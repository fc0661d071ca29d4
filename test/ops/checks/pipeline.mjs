/** The pipeline: its schema, what it refers to, the shell and YAML of the whole project, and the bill of materials. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { CheckError, runTool } from '../check.mjs';

const pipelineFile = '.gitlab-ci.yml';
/** Keys of the file that are no jobs. */
const globalKeys = ['default', 'include', 'image', 'services', 'stages', 'variables', 'workflow', 'spec'];
/** Only these may be run for a merge request: the others have the rights to change something. */
const harmlessStages = ['check', 'test'];
const skippedDirectories = ['node_modules', 'dist', '.build', 'data', '.git', '.cache', '.terraform'];

async function checkSchema({ root }) {
  const schema = ['--builtin-schema', 'vendor.gitlab-ci', '--data-transform', 'gitlab-ci'];
  await runTool(['check-jsonschema', ...schema, pipelineFile], { cwd: root });
  return "it matches GitLab's schema";
}

async function checkReferences({ root }) {
  const { pipeline, jobs, runnable } = readPipeline(root);
  const faults = [];
  for (const [name, job] of Object.entries(runnable)) {
    if (!pipeline.stages.includes(job.stage)) faults.push(`job ${name}: stage ${job.stage} is not declared`);
    for (const need of namedJobs(job))
      if (jobs[need] === undefined) faults.push(`job ${name}: there is no job ${need}`);
    faults.push(...findImageFaults(job).map((fault) => `job ${name}: ${fault}`));
    faults.push(...findRightsFaults(job).map((fault) => `job ${name}: ${fault}`));
    faults.push(...findRescueFaults(job, runnable).map((fault) => `job ${name}: ${fault}`));
  }
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const lines = Object.values(jobs).flatMap(linesOf);
  for (const script of npmScriptsIn(lines)) {
    if (scripts[script] === undefined) faults.push(`package.json has no script ${script}`);
  }
  for (const path of pathsIn(lines)) if (!existsSync(join(root, path))) faults.push(`there is no ${path}`);
  const own = npmScriptsIn(readFileSync(join(root, '.ci/run'), 'utf8').split('\n'));
  const theirs = npmScriptsIn(lines);
  for (const script of own)
    if (!theirs.has(script)) faults.push(`.ci/run calls npm run ${script}, the pipeline does not`);
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return `${Object.keys(runnable).length} jobs, ${theirs.size} npm scripts, all there`;
}

/** Jobs with what they extend and the defaults merged in; those whose names begin with a dot are not run. */
function readPipeline(root) {
  const reference = { tag: '!reference', collection: 'seq', resolve: (list) => list };
  const pipeline = parse(readFileSync(join(root, pipelineFile), 'utf8'), {
    customTags: [reference],
    merge: true,
  });
  const jobs = Object.fromEntries(Object.entries(pipeline).filter(([key]) => !globalKeys.includes(key)));
  const extend = (job = {}) => {
    const parents = [job.extends ?? []].flat().map((name) => extend(jobs[name]));
    return Object.assign({}, ...parents, job);
  };
  const runnable = Object.entries(jobs).filter(([name]) => !name.startsWith('.'));
  const merged = runnable.map(([name, job]) => [name, { ...pipeline.default, ...extend(job) }]);
  return { pipeline, jobs, runnable: Object.fromEntries(merged) };
}

function namedJobs({ needs = [], dependencies = [], extends: parents = [] }) {
  return [...needs.map((need) => need.job ?? need), ...dependencies, ...[parents].flat()];
}

/** A tag that moves is another image tomorrow. */
function findImageFaults({ image, services = [], parallel }) {
  const matrix = (parallel?.matrix ?? []).flatMap((variables) => Object.entries(variables));
  return [image, ...services].filter(Boolean).flatMap((entry) => {
    let names = [entry.name ?? entry];
    for (const [variable, values] of matrix)
      names = names.flatMap((name) =>
        [values].flat().map((value) => name.replaceAll(`\${${variable}}`, value)),
      );
    return names
      .filter((name) => !/(:v?\d+\.\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})$/.test(name))
      .map((name) => `image ${name} is not pinned to a version`);
  });
}

function findRightsFaults({ stage, rules = [], environment, resource_group: group, interruptible }) {
  const faults = [];
  if (
    !harmlessStages.includes(stage) &&
    (rules.length === 0 || JSON.stringify(rules).includes('merge_request_event'))
  )
    faults.push(`stage ${stage} needs rules, and none of them for merge requests`);
  if (environment === undefined) return faults;
  if (group === undefined) faults.push('two pipelines could deploy at once: it needs a resource_group');
  if (interruptible !== false)
    faults.push('a deployment must not be interrupted: interruptible must be false');
  return faults;
}

/** A job that is skipped has not failed: who needs it is not run on a failure, but skipped as well. */
function findRescueFaults({ needs = [], rules = [] }, jobs) {
  if (!rules.some((rule) => rule.when === 'on_failure')) return [];
  const mayFail = (name) => (jobs[name]?.rules ?? []).some((rule) => rule.allow_failure === true);
  return needs.flatMap((need) =>
    (jobs[need]?.needs ?? [])
      .filter((earlier) => needs.includes(earlier) && !mayFail(earlier))
      .map((earlier) => `when ${earlier} fails, ${need} is skipped, and this job with it`),
  );
}

function linesOf({ before_script: before = [], script = [], after_script: after = [] }) {
  return [before, script, after].flat(3).flatMap((entry) => String(entry).split('\n'));
}

function npmScriptsIn(lines) {
  const found = lines.flatMap((line) => [...line.matchAll(/\bnpm (?:run ([\w:-]+)|(test|start)\b)/g)]);
  return new Set(found.map(([, named, short]) => named ?? short));
}

/** Words of commands that name something of the project, but for what they write. */
function pathsIn(lines) {
  const words = lines.flatMap((line) => line.replace(/>\s*\S+/g, '').split(/[\s"'=;]+/));
  const ours = /^(\.ci|ansible|bench|docker|docs|monitoring|schemas|terraform|test)\/[\w./-]*$/;
  return new Set(words.map((word) => word.replace(/^\.\//, '')).filter((word) => ours.test(word)));
}

async function checkShell({ root }) {
  const files = filesBelow(root).filter((file) => file.endsWith('.sh') || isShell(join(root, file)));
  await runTool(['shellcheck', ...files], { cwd: root });
  return `${files.length} scripts`;
}

function isShell(path) {
  if (/\.\w+$/.test(path) || statSync(path).size > 100_000) return false;
  return /^#!.*\b(ba|da)?sh\b/.test(readFileSync(path, 'utf8').split('\n', 1)[0]);
}

async function checkYaml({ root }) {
  const files = filesBelow(root).filter((file) => /\.ya?ml$/.test(file));
  await runTool(['yamllint', '--strict', ...files], { cwd: root });
  return `${files.length} files`;
}

/** Not by git: a copy with a mistake has none. */
function filesBelow(root, directory = '') {
  return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (skippedDirectories.includes(entry.name)) return [];
    if (entry.isDirectory()) return filesBelow(root, path);
    return entry.isFile() ? [path] : [];
  });
}

/** By the script of the pipeline. `npm sbom` is not used: it leaves out what is also a peer of a tool (npm 11.19: zod, yaml). */
async function checkBillOfMaterials({ root, scratch }) {
  const file = join(scratch, 'sbom.cdx.json');
  await runTool(['.ci/sbom.sh', file], { cwd: root });
  const { components } = JSON.parse(readFileSync(file, 'utf8'));
  const named = new Set(
    components.map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`),
  );
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  );
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const unshipped = Object.entries(devDependencies).filter(([name]) => packages[`node_modules/${name}`].dev);
  const exactly = (entries) => entries.map(([name, version]) => `${name}@${version}`);
  const faults = [
    ...exactly(Object.entries({ ...dependencies, ...optionalDependencies }))
      .filter((id) => !named.has(id))
      .map((id) => `${id} is shipped and not in the list`),
    ...exactly(unshipped)
      .filter((id) => named.has(id))
      .map((id) => `${id} is in the list and not shipped`),
  ];
  if (faults.length > 0) throw new CheckError(faults.join('\n'));
  return `${named.size} components, valid CycloneDX`;
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'pipeline schema',
    tools: ['check-jsonschema'],
    run: checkSchema,
    mistakes: [
      {
        file: pipelineFile,
        find: 'interruptible: true',
        replace: 'interruptable: true',
        says: /interruptable/,
      },
      { file: pipelineFile, find: 'when: manual', replace: 'when: by_hand', says: /by_hand/ },
    ],
  },
  {
    name: 'pipeline references',
    tools: [],
    run: checkReferences,
    mistakes: [
      { file: pipelineFile, find: 'npm run check\n', replace: 'npm run chekc\n', says: /no script chekc/ },
      {
        file: pipelineFile,
        find: 'stage: build',
        replace: 'stage: biuld',
        says: /stage biuld is not declared/,
      },
      { file: pipelineFile, find: '.ci/image.sh', replace: '.ci/imgae.sh', says: /no \.ci\/imgae\.sh/ },
      {
        file: pipelineFile,
        find: 'alpine:3.23.5@sha256:fd791d74b68913cbb027c6546007b3f0d3bc45125f797758156952bc2d6daf40',
        replace: 'alpine:latest',
        says: /alpine:latest is not pinned/,
      },
      { file: pipelineFile, find: 'resource_group: production', replace: '', says: /needs a resource_group/ },
      {
        file: pipelineFile,
        find: '  needs: [canary, look at the canary]\n  rules:',
        replace: '  needs: [canary, look at the canary, promote]\n  rules:',
        says: /when look at the canary fails, promote is skipped/,
      },
      { file: 'package.json', find: '"test:faults"', replace: '"test:fault"', says: /no script test:faults/ },
    ],
  },
  {
    name: 'shell scripts',
    tools: ['shellcheck'],
    run: checkShell,
    mistakes: [
      { file: '.ci/run', find: 'cd "$(dirname "$0")/.."', replace: 'cd $(dirname $0)/..', says: /SC2046/ },
      { file: '.ci/image.sh', find: 'set -eu', replace: 'set -eu; x=1', says: /SC2034/ },
    ],
  },
  {
    name: 'yaml',
    tools: ['yamllint'],
    run: checkYaml,
    mistakes: [
      {
        file: pipelineFile,
        find: 'stages:',
        replace: 'stages: []\nstages:',
        says: /duplication of key "stages"/,
      },
    ],
  },
  {
    name: 'bill of materials',
    tools: ['npm'],
    run: checkBillOfMaterials,
    mistakes: [
      { file: 'package.json', find: '"ajv": "8.20.0"', replace: '"ajv": "8.19.0"', says: /ajv/ },
      {
        file: '.ci/sbom.sh',
        find: '--omit dev',
        replace: '',
        says: /vitest@.* is in the list and not shipped/,
      },
    ],
  },
];
