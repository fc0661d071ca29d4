/**
 * The image. There may be no Docker engine, so the Dockerfile is linted, and its steps are run in a directory that
 * stands for the root of the image; what comes of it is started as a container would start it. Not covered: the base
 * images, whose Node.js is replaced by the one that runs this, and the image's layers.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckError, runTool } from '../check.mjs';
import { parseDockerfile } from '../dockerfile.mjs';
import { freePort } from '../network.mjs';

const file = 'Dockerfile';

/** @param {import('../check.mjs').Site} site */
async function lint({ root }) {
  await runTool(['hadolint', '--failure-threshold', 'style', join(root, file)]);
  const stages = parseDockerfile(readFileSync(join(root, file), 'utf8'));
  const sent = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
  for (const { name, text, flags } of stages.flatMap(({ instructions }) => instructions))
    for (const source of name === 'COPY' && flags.from === undefined ? text.split(/\s+/).slice(0, -1) : [])
      if (!sent.includes(`!${source}`)) throw new CheckError(`.dockerignore keeps ${source} from the build`);
  for (const target of ['lean', 'all-in-one']) {
    const { instructions } = flatten(stages, target);
    const of = (name) => instructions.findLast((instruction) => instruction.name === name)?.text;
    const must = {
      'Node.js by its version, on glibc': /^node:\d+\.\d+\.\d+-trixie-slim(@sha256:[0-9a-f]{64})?$/.test(
        flatten(stages, 'build').base,
      ),
      'a user that is not root, by number': /^[1-9]\d*:[1-9]\d*$/.test(of('USER') ?? ''),
      'a health check without a shell': /CMD \[/.test(of('HEALTHCHECK') ?? ''),
      'an entry point without a shell': of('ENTRYPOINT')?.startsWith('['),
      'a version and a revision': ['version', 'revision'].every((name) =>
        of('LABEL')?.includes(`image.${name}="\${`),
      ),
    };
    for (const [what, holds] of Object.entries(must))
      if (!holds) throw new CheckError(`${file}: target ${target} lacks ${what}`);
  }
  return `hadolint has nothing to say, ${stages.length} stages`;
}

/** The instructions of a stage after those of the stages that it is made from, down to a base image. */
function flatten(stages, name) {
  const stage = stages.find((candidate) => candidate.name === name);
  if (stage === undefined) return { base: name, instructions: [] };
  const { base, instructions } = flatten(stages, stage.from);
  return { base, instructions: [...instructions, ...stage.instructions] };
}

/** @param {import('../check.mjs').Site} site */
async function build({ root, scratch }) {
  const stages = parseDockerfile(readFileSync(join(root, file), 'utf8'));
  chmodSync(scratch, 0o755);
  const built = new Map();
  const image = await buildStage('lean', { stages, root, scratch, built });
  const size = megabytes(image.path);
  const container = await start(image);
  try {
    await isHealthy(image, container);
    const { status } = await post(container.port);
    if (status !== 200) throw new CheckError(`a post got ${status}:\n${container.log()}`);
    if (container.log().includes('cannot be loaded')) throw new CheckError(container.log());
  } finally {
    container.stop();
  }
  const code = await container.exited;
  if (code !== 0) throw new CheckError(`SIGTERM ended it with ${code}:\n${container.log()}`);
  const modules = megabytes(join(image.path, 'app/node_modules'));
  return `it serves and is healthy as user ${image.uid} that can write to /data alone; ${size} MB with Node.js ${process.version}, ${modules} MB of it packages`;
}

/** Runs the steps of a stage, on what the stage that it is made from has left. */
async function buildStage(name, context) {
  const { stages, scratch, built } = context;
  const known = built.get(name);
  if (known !== undefined) return known;
  const path = join(scratch, name);
  const stage = stages.find((candidate) => candidate.name === name);
  const isOnStage = stages.some((candidate) => candidate.name === stage.from);
  const base = isOnStage ? await buildStage(stage.from, context) : { workdir: '/', env: {}, uid: 0 };
  // Hard links: no step changes a file of an earlier stage in place.
  if (isOnStage) await runTool(['cp', '-al', base.path, path]);
  else mkdirSync(path, { recursive: true });
  const image = { ...base, env: { ...base.env }, path, context };
  built.set(name, image);
  for (const instruction of stage.instructions) await steps[instruction.name]?.(image, instruction);
  return image;
}

/** By the name of the instruction; those without a step say nothing about files. */
const steps = {
  WORKDIR: (image, { text }) => {
    image.workdir = text;
    mkdirSync(join(image.path, text), { recursive: true });
  },
  ENV: (image, { text }) => {
    for (const [, key, value] of text.matchAll(/(\w+)=(\S+)/g)) image.env[key] = value;
  },
  USER: (image, { text }) => {
    image.uid = Number(text.split(':')[0]);
  },
  RUN: (image, { text }) =>
    runTool(['bash', '-euc', text], { cwd: join(image.path, image.workdir), timeoutMs: 600_000 }),
  COPY: async (image, { text, flags }) => {
    const words = text.split(/\s+/);
    const target = words.pop();
    const { stages, root } = image.context;
    const isStage = stages.some(({ name }) => name === flags.from);
    const from = isStage ? await buildStage(flags.from, image.context) : undefined;
    for (const source of words) await copy({ image, target, flags, source, base: from?.path ?? root });
  },
  ENTRYPOINT: (image, { text }) => {
    image.entrypoint = JSON.parse(text);
  },
  CMD: (image, { text }) => {
    image.command = JSON.parse(text);
  },
  HEALTHCHECK: (image, { text }) => {
    image.health = JSON.parse(text.slice(text.indexOf('[')));
  },
};

async function copy({ image, target, flags, source, base }) {
  const isNode = source === '/usr/local/bin/node';
  const path = isNode ? process.execPath : join(base, source);
  if (!existsSync(path)) throw new CheckError(`${file}: COPY ${source}: there is no such file`);
  const place = join(image.path, target.startsWith('/') ? target : join(image.workdir, target));
  const isDirectory = /\/$/.test(target) || target === '.';
  const to = isDirectory ? join(place, source.split('/').at(-1)) : place;
  mkdirSync(dirname(to), { recursive: true });
  await runTool(['cp', isNode ? '-LT' : '-aT', path, to]);
  if (flags.chown !== undefined && process.getuid() === 0)
    chownSync(to, ...flags.chown.split(':').map(Number));
}

/** Starts what the image starts, with nothing in its environment but that of the image. */
async function start(image) {
  const port = await freePort();
  const inside = (text) => (text.startsWith('/') ? join(image.path, text) : text);
  const [program, ...args] = [...image.entrypoint, ...image.command].map(inside);
  const env = Object.fromEntries(Object.entries(image.env).map(([key, value]) => [key, inside(value)]));
  const user = process.getuid() === 0 ? { uid: image.uid, gid: image.uid } : {};
  const child = spawn(program, args, {
    ...{ cwd: join(image.path, image.workdir), ...user },
    env: { ...env, MILLRACE_LISTEN: `127.0.0.1:${port}` },
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (log += data));
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  const isEnded = () => child.exitCode !== null;
  return { port, exited, isEnded, log: () => log, stop: () => child.kill('SIGTERM'), inside, env };
}

/** The image's own health check, for the port that was free here. */
async function isHealthy(image, { port, log, isEnded, inside, env }) {
  const [program, ...args] = image.health.map(inside);
  const check = [program, ...args.map((arg) => (arg === '8080' ? String(port) : arg))];
  for (let attempt = 1; ; attempt++) {
    const problem = await runTool(check, { env }).then(
      () => undefined,
      (error) => error.message,
    );
    if (problem === undefined) return;
    if (attempt === 60 || isEnded()) throw new CheckError(`the health check fails: ${problem}\n${log()}`);
    await sleep(500);
  }
}

function post(port) {
  return fetch(`http://127.0.0.1:${port}/v1/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"event":"from-the-image"}',
  });
}

function megabytes(path) {
  return Number(execFileSync('du', ['-sm', path], { encoding: 'utf8' }).split('\t')[0]);
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'image lint',
    tools: ['hadolint'],
    run: lint,
    mistakes: [
      { file, find: 'WORKDIR /build', replace: 'WORKDIR build', says: /DL3000/ },
      { file, find: 'node:24.21.0-trixie-slim', replace: 'node:24-alpine', says: /lacks Node.js/ },
      { file: '.dockerignore', find: '!schemas\n', replace: '', says: /keeps schemas/ },
      { file, find: 'USER 65532:65532', replace: 'USER 0:0', says: /not be root/ },
      {
        file,
        find: 'CMD ["/usr/local/bin/node", "/app/healthcheck.mjs", "8080"]',
        replace: 'CMD node /app/healthcheck.mjs',
        says: /DL3025/,
      },
    ],
  },
  {
    name: 'image build',
    tools: ['npm'],
    heavy: true,
    run: build,
    mistakes: [
      // Without its packages' binaries.
      {
        file,
        find: 'rm -rf node_modules/chdb',
        replace: 'rm -rf node_modules/@lmdb node_modules/chdb',
        says: /lmdb/,
      },
      { file, find: '--chown=65532:65532 ', replace: '', says: /health check fails/ },
    ],
  },
];
