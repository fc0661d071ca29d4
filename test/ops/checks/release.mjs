/** What the pipeline releases with: the look at a canary, by a real Prometheus, and the two colours, by a real Terraform. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckError, endProgram, runTool } from '../check.mjs';
import { freePort, untilOk } from '../network.mjs';
import { toolEnvironment } from '../tools.mjs';

const minutes = 10;
const everySeconds = 15;

/** Collectors as Prometheus has seen them: events and requests a second, and the time of nearly all posts. */
const healthy = { accepted: 500, failed: 0, rejected: 5, requests: 500, failures: 0, seconds: 0.02, up: 1 };
const collectors = {
  stable: healthy,
  good: healthy,
  slow: { ...healthy, seconds: 0.5 },
  failing: { ...healthy, accepted: 490, failed: 10 },
  erroring: { ...healthy, requests: 490, failures: 10 },
  rejecting: { ...healthy, accepted: 400, rejected: 100 },
  idle: { ...healthy, accepted: 0.01, rejected: 0, requests: 0.01 },
  down: { ...healthy, up: 0 },
};
/** What the script must say of each, with its exit code; a colour that is none of these is not scraped at all. */
const verdicts = {
  good: [0, /the canary is good/],
  slow: [99, /p99 \d+ ms is above 250 ms/],
  failing: [99, /accepted events 98\.00% are below 99\.90%/],
  erroring: [99, /requests without 5xx 98\.00% are below 99\.90%/],
  rejecting: [99, /rejected events 20\.00% is above 1\.99%/],
  idle: [99, /too few to judge by/],
  down: [99, /1 of 1 collectors of the canary are down/],
  absent: [99, /Prometheus scrapes no collector/],
};

async function checkCanary({ root, scratch }) {
  const known = readFileSync(join(root, 'docs/metrics.md'), 'utf8');
  const script = readFileSync(join(root, '.ci/canary.mjs'), 'utf8').replace(/\$\{kind\}/g, 'accepted');
  for (const [name] of script.matchAll(/millrace_[a-z_]+/g))
    if (!known.includes(`\`${name.replace(/_bucket$/, '')}\``))
      throw new CheckError(`there is no metric ${name}`);
  const { url, stop } = await startPrometheus(scratch);
  try {
    for (const [colour, [code, says]] of Object.entries(verdicts)) {
      await expectVerdict(root, ['--prometheus', url, ...lookAt(colour), '--for', '0s'], {
        colour,
        code,
        says,
      });
    }
    const watch = ['--prometheus', url, ...lookAt('good'), '--for', '2s', '--every', '100ms'];
    await expectVerdict(root, watch, { colour: 'watched', code: 0, says: /look 2: good/ });
  } finally {
    await stop();
  }
  await expectVerdict(root, ['--prometheus', url, ...lookAt('good')], {
    colour: 'unseen',
    code: 69,
    says: /Check --prometheus/,
  });
  return `${Object.keys(verdicts).length} canaries judged from what Prometheus has`;
}

const lookAt = (colour) => ['--canary', `colour="${colour}"`, '--stable', 'colour="stable"'];

async function expectVerdict(root, args, { colour, code, says }) {
  const child = spawn(process.execPath, ['.ci/canary.mjs', ...args], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  const [status] = await once(child, 'close');
  if (status === code && says.test(said)) return;
  throw new CheckError(
    `the ${colour} canary: exit code ${status} and '${said.trim()}', not ${code} and ${says}`,
  );
}

/** With a past that is written for it: nobody has to wait for scrapes. */
async function startPrometheus(scratch) {
  const data = join(scratch, 'data');
  const history = join(scratch, 'history.txt');
  writeFileSync(history, formatHistory(Math.floor(Date.now() / 1_000)));
  await runTool(['promtool', 'tsdb', 'create-blocks-from', 'openmetrics', history, data], { cwd: scratch });
  const config = join(scratch, 'prometheus.yml');
  writeFileSync(config, 'scrape_configs: []\n');
  const port = await freePort();
  const options = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${data}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const child = spawn('prometheus', options, { env: toolEnvironment, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  const url = `http://127.0.0.1:${port}`;
  const stop = () => endProgram(child);
  try {
    await untilOk(`${url}/-/ready`, { child, said: () => said });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

/** OpenMetrics: all samples of a metric together, in the order of time. */
function formatHistory(now) {
  const start = now - minutes * 60;
  const lines = [];
  const metric = (name, type, series) => {
    lines.push(`# TYPE ${name} ${type}`);
    for (const { suffix = '', labels = '', colour, rate, value } of series)
      for (let time = start; time <= now; time += everySeconds)
        lines.push(`${name}${suffix}{colour="${colour}"${labels}} ${value ?? rate * (time - start)} ${time}`);
  };
  const each = (series) =>
    Object.entries(collectors).flatMap(([colour, shape]) =>
      [series(shape)].flat().map((one) => ({ ...one, colour })),
    );
  metric(
    'up',
    'gauge',
    each(({ up }) => ({ value: up })),
  );
  for (const kind of ['accepted', 'failed', 'rejected'])
    metric(
      `millrace_events_${kind}`,
      'counter',
      each((shape) => ({ suffix: '_total', rate: shape[kind] })),
    );
  metric(
    'millrace_http_requests',
    'counter',
    each(({ requests, failures }) => [
      { suffix: '_total', labels: ',status="200"', rate: requests },
      { suffix: '_total', labels: ',status="503"', rate: failures },
    ]),
  );
  metric(
    'millrace_http_request_duration_seconds',
    'histogram',
    each(({ requests, seconds }) =>
      [0.01, 0.05, 0.25, 1]
        .map((limit) => ({
          suffix: '_bucket',
          labels: `,le="${limit}"`,
          rate: limit < seconds ? 0 : requests,
        }))
        .concat(
          { suffix: '_bucket', labels: ',le="+Inf"', rate: requests },
          { suffix: '_count', rate: requests },
          { suffix: '_sum', rate: requests * seconds },
        ),
    ),
  );
  return `${lines.join('\n')}\n# EOF\n`;
}

/** Takes and gives what terraform/ does, and makes nothing. */
const stage = `
variable "releases" {
  type    = map(object({ image_tag = string, weight = number }))
  default = null
}
variable "image_tag" {
  type    = string
  default = "one"
}
locals {
  releases = var.releases != null ? var.releases : { blue = { image_tag = var.image_tag, weight = 100 } }
}
resource "terraform_data" "release" {
  input = [local.releases, var.image_tag]
}
output "releases" { value = local.releases }
output "image_tag" { value = var.image_tag }
`;

/** What the script gives to the configurations that it may be told to apply, and takes from them. */
function checkNames(root) {
  for (const directory of ['terraform', 'terraform/examples/cloudflare']) {
    const files = readdirSync(join(root, directory)).filter((file) => file.endsWith('.tf'));
    const text = files.map((file) => readFileSync(join(root, directory, file), 'utf8')).join('\n');
    for (const name of ['variable "releases"', 'variable "image_tag"', 'output "releases"'])
      if (!text.includes(name)) throw new CheckError(`.ci/deploy.sh needs ${name} in ${directory}`);
  }
}

/** Each step with what it applies, one after the other; the last is what there is then. */
const steps = [
  [['canary', 'two', '10'], 'blue one 90, green two 10, streamers one'],
  [['canary', 'two', '10'], 'blue one 90, green two 10, streamers one'],
  // Requests move first, machines follow.
  [
    ['rollback', 'one'],
    'blue one 100, green two 0, streamers one',
    'blue one 100, green one 0, streamers one',
  ],
  [['canary', 'three', '25'], 'blue one 75, green three 25, streamers one'],
  [['promote', 'three'], 'blue one 0, green three 100, streamers three'],
  [
    ['rollback', 'one'],
    'blue one 100, green three 0, streamers one',
    'blue one 100, green one 0, streamers one',
  ],
  // Again, as after a failure.
  [
    ['rollback', 'one'],
    'blue one 100, green one 0, streamers one',
    'blue one 100, green one 0, streamers one',
  ],
];

async function checkColours({ root, scratch }) {
  checkNames(root);
  const directory = join(scratch, 'terraform');
  mkdirSync(directory);
  writeFileSync(join(directory, 'main.tf'), stage);
  const terraform = (...args) => runTool(['terraform', `-chdir=${directory}`, ...args]);
  await terraform('init', '-input=false');
  await terraform('apply', '-input=false', '-auto-approve');
  const { env, applied } = watchTerraform(scratch, directory);
  const deploy = (...args) => runTool([join(root, '.ci/deploy.sh'), ...args], { cwd: scratch, env });
  for (const [args, ...expected] of steps) {
    if (args[0] === 'promote') await expectRefusal(deploy, ['promote', 'another']);
    await deploy(...args);
    const found = applied().map(({ releases, image_tag: tag }) => describeReleases(releases, tag));
    const { releases, image_tag: tag } = JSON.parse(await terraform('output', '-json'));
    const left = describeReleases(releases.value, tag.value);
    if ([...found, left].join('; ') !== [...expected, expected.at(-1)].join('; '))
      throw new CheckError(`${args.join(' ')}: applied ${found.join('; ')}, which left ${left}`);
  }
  const told = readFileSync(join(scratch, 'deploy.env'), 'utf8').trim().replaceAll('\n', ' ');
  if (told !== 'STABLE_TAG=one CANARY=green STABLE=blue')
    throw new CheckError(`the last canary left in deploy.env: ${told}`);
  await checkRefusals(deploy, directory, env);
  return `${steps.length} steps between blue and green`;
}

async function checkRefusals(deploy, directory, env) {
  for (const args of [
    ['promote', 'one'],
    ['canary'],
    ['canary', 'four', '50'],
    ['rollback', 'two'],
    ['advance'],
  ])
    await expectRefusal(deploy, args);
  env.UNREADABLE = 'release.tfplan';
  await expectRefusal(deploy, ['canary', 'unread']);
  env.UNREADABLE = 'nothing';
  // What is replaced, as a machine with data would be by another disk.
  writeFileSync(join(directory, 'main.tf'), stage.replace('input =', 'triggers_replace ='));
  await expectRefusal(deploy, ['canary', 'four']);
}

/** Puts a program before terraform that notes what is applied, and does not show a file if told so. */
function watchTerraform(scratch, directory) {
  const [bin, log] = [join(scratch, 'bin'), join(scratch, 'applied')];
  const program = `#!/bin/sh
case "$*" in
*' apply '*) cat '${directory}/release.auto.tfvars.json' >>'${log}' ;;
*" show -json $UNREADABLE") exit 1 ;;
esac
PATH=\${PATH#*:} exec terraform "$@"
`;
  mkdirSync(bin);
  writeFileSync(join(bin, 'terraform'), program, { mode: 0o755 });
  const applied = () => {
    const said = readFileSync(log, 'utf8');
    rmSync(log);
    return JSON.parse(`[${said.trim().replaceAll('}\n{', '},{')}]`);
  };
  const PATH = `${bin}:${toolEnvironment.PATH}`;
  return { env: { PATH, TERRAFORM_DIR: directory, UNREADABLE: 'nothing' }, applied };
}

function describeReleases(releases, streamers) {
  const colours = ['blue', 'green'].map((colour) => {
    const { image_tag: tag, weight } = releases[colour];
    return `${colour} ${tag} ${weight}`;
  });
  return `${colours.join(', ')}, streamers ${streamers}`;
}

async function expectRefusal(deploy, args) {
  const isDone = await deploy(...args).then(
    () => true,
    () => false,
  );
  if (isDone) throw new CheckError(`'${args.join(' ')}' was not refused`);
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'canary',
    tools: ['prometheus', 'promtool'],
    run: checkCanary,
    mistakes: [
      {
        file: '.ci/canary.mjs',
        find: 'measured.accepted, limits.minAccepted',
        replace: 'measured.accepted, 0',
        says: /the failing canary: exit code 0/,
      },
      {
        file: '.ci/canary.mjs',
        find: 'limits.maxP99,',
        replace: '60,',
        says: /the slow canary: exit code 0/,
      },
      {
        file: '.ci/canary.mjs',
        find: '_http_requests_total',
        replace: '_posts_total',
        says: /no metric millrace_posts_total/,
      },
    ],
  },
  {
    name: 'blue and green',
    heavy: true,
    tools: ['terraform', 'jq'],
    run: checkColours,
    mistakes: [
      {
        file: '.ci/deploy.sh',
        find: 'index("delete")',
        replace: 'index("destroy")',
        says: /'canary four' was not refused/,
      },
      {
        file: '.ci/deploy.sh',
        find: 'max_by(.value.weight).key) as $live',
        replace: 'min_by(.value.weight).key) as $live',
        says: /canary two 10: applied blue two/,
      },
      {
        file: '.ci/deploy.sh',
        find: 'with_entries(.value.weight = $next[.key].weight)',
        replace: '$next',
        says: /rollback one: applied blue one 100, green one 0/,
      },
      {
        file: '.ci/deploy.sh',
        find: 'show -json release.tfplan)',
        replace: 'show -json release.tfplan || true)',
        says: /'canary unread' was not refused/,
      },
      {
        file: 'terraform/examples/cloudflare/outputs.tf',
        find: 'output "releases"',
        replace: 'output "colours"',
        says: /needs output "releases"/,
      },
    ],
  },
];
