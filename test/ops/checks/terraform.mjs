/** The cloud: format, style, what machines are given, and the whole against the provider's schema. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { CheckError, runTool } from '../check.mjs';
import { providerVersion, provideYandex, terraformEnvironment } from '../terraform-provider.mjs';

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'terraform format',
    tools: ['terraform'],
    run: checkFormat,
    mistakes: [
      {
        file: 'terraform/main.tf',
        find: '  subnets       = var.subnets',
        replace: ' subnets = var.subnets',
        says: /main\.tf/,
      },
    ],
  },
  {
    name: 'terraform style',
    heavy: true,
    tools: ['tflint'],
    run: checkStyle,
    mistakes: [
      {
        file: 'terraform/outputs.tf',
        find: '  description = "Where clients post events."\n',
        replace: '',
        says: /terraform_documented_outputs/,
      },
      {
        file: 'terraform/modules/dns-cloudflare/main.tf',
        find: 'proxied = false\n}',
        replace: 'proxied = false\n',
        says: /dns-cloudflare|Unclosed/,
      },
    ],
  },
  {
    name: 'terraform machines',
    tools: ['terraform', 'python3'],
    run: checkMachines,
    mistakes: [
      {
        file: 'terraform/main.tf',
        find: 'MILLRACE_WORKERS',
        replace: 'MILLRACE_WORKER',
        says: /MILLRACE_WORKER is no option/,
      },
      {
        file: 'terraform/modules/container/main.tf',
        find: 'overwrite = false',
        replace: 'overwrite = true',
        says: /would be formatted/,
      },
      {
        file: 'terraform/modules/container/files/prepare.py',
        find: '0o400',
        replace: '0o644',
        says: /can be read by others/,
      },
      {
        file: 'terraform/modules/monitoring/files/discover.py',
        find: 'primaryV4Address',
        replace: 'primaryAddress',
        says: /targets/,
      },
      {
        file: 'terraform/modules/monitoring/files/discover.py',
        find: 'if colour:',
        replace: 'if not colour:',
        says: /other targets/,
      },
    ],
  },
  {
    name: 'terraform stack',
    heavy: true,
    tools: ['terraform', 'go'],
    run: checkStack,
    mistakes: [
      {
        file: 'terraform/modules/network/main.tf',
        find: 'route_table_id =',
        replace: 'route_table =',
        says: /Unsupported argument/,
      },
      {
        file: 'terraform/variables.tf',
        find: 'ru-central1-d = ',
        replace: 'ru-central1-c = ',
        says: /ru-central1-c\s+takes\s+no\s+new\s+machines/,
      },
      {
        file: 'terraform/variables.tf',
        find: 'endswith(cidr, "/0")',
        replace: 'endswith(cidr, "/99")',
        says: /refuses_ssh_for_everyone/,
      },
      {
        file: 'terraform/modules/balancer/main.tf',
        find: 'http_backend.value.weight > 0 ? http_backend.value.weight : -1',
        replace: 'http_backend.value.weight',
        says: /a_colour_that_waits_gets_nothing/,
      },
    ],
  },
];

async function checkFormat({ root, scratch }) {
  const environment = terraformEnvironment(scratch);
  await runTool(['terraform', 'fmt', '-check', '-diff', '-recursive', join(root, 'terraform')], {
    env: environment,
  });
  return `${listFiles(join(root, 'terraform'), /\.(tf|hcl)$/).length} files`;
}

async function checkStyle({ root }) {
  const directory = join(root, 'terraform');
  await runTool(
    ['tflint', '--recursive', '--no-color', '--format=compact', `--config=${join(directory, '.tflint.hcl')}`],
    {
      cwd: directory,
    },
  );
  return `${listModules(directory).length} modules`;
}

/** What needs no provider: user data, and the two programs that run on machines, against a cloud on loopback. */
async function checkMachines({ root, scratch }) {
  const directory = copyTerraform(root, scratch);
  const options = countOptions(directory, root);
  await testModule(join(directory, 'modules/container'), terraformEnvironment(scratch));
  const cloud = await startCloud();
  try {
    await checkPrepare({ directory, scratch, url: cloud.url });
    await checkDiscover({ directory, scratch, url: cloud.url });
  } finally {
    await cloud.close();
  }
  return `user data, ${options} options, secrets fetched, targets discovered`;
}

/** All but what is at Cloudflare, whose provider is not to be had as a Go module. */
async function checkStack({ root, scratch }) {
  const directory = copyTerraform(root, scratch);
  const environment = await provideYandex(scratch);
  const modules = listModules(directory).filter((path) => !path.includes('cloudflare'));
  for (const module of modules) {
    await runTool(['terraform', 'init', '-backend=false', '-input=false', '-no-color'], {
      cwd: module,
      env: environment,
    });
    await runTool(['terraform', 'validate', '-no-color'], { cwd: module, env: environment });
  }
  let passed = 0;
  for (const module of modules.filter((path) => existsSync(join(path, 'tests'))))
    passed += await runTests(module, environment);
  return `${modules.length} modules valid with provider ${providerVersion}, ${passed} runs passed`;
}

async function testModule(module, environment) {
  await runTool(['terraform', 'init', '-backend=false', '-input=false', '-no-color'], {
    cwd: module,
    env: environment,
  });
  return await runTests(module, environment);
}

async function runTests(module, environment) {
  const said = await runTool(['terraform', 'test', '-no-color'], {
    cwd: module,
    env: environment,
    timeoutMs: 1_200_000,
  });
  return Number(/(\d+) passed/.exec(said)?.[1] ?? 0);
}

/** Terraform writes beside the files that it reads. */
function copyTerraform(root, scratch) {
  const directory = join(scratch, 'terraform');
  cpSync(join(root, 'terraform'), directory, {
    recursive: true,
    filter: (path) => !/\/\.terraform(\/|$)|\.tfstate|\.lock\.hcl$|backend\.tf$|\.tfvars$/.test(path),
  });
  return directory;
}

function listFiles(directory, pattern) {
  return readdirSync(directory, { recursive: true }).filter(
    (name) => pattern.test(name) && !name.includes('.terraform/'),
  );
}

function listModules(directory) {
  return listFiles(directory, /(^|\/)versions\.tf$/).map((name) => join(directory, name, '..'));
}

/** The program refuses a variable that it does not know, which here would be on a machine that nobody can log in to. */
function countOptions(directory, root) {
  const documented = readFileSync(join(root, 'docs/configuration.md'), 'utf8');
  const used = new Set(
    listFiles(directory, /\.tf$/).flatMap(
      (name) => readFileSync(join(directory, name), 'utf8').match(/\bMILLRACE_\w+/g) ?? [],
    ),
  );
  for (const name of used)
    if (!documented.includes(`\`${name}\``))
      throw new CheckError(`${name} is no option: see docs/configuration.md`);
  return used.size;
}

const machine = (name, zoneId, address) => ({
  name,
  zoneId,
  networkInterfaces: [{ primaryV4Address: { address } }],
});

/** Answers as the metadata service, Lockbox and Compute Cloud do, in pages. */
async function startCloud() {
  const groups = [
    'millrace-collector-blue',
    'millrace-collector-green',
    'millrace-streamer',
    'other-collector',
  ];
  const answers = {
    '/token': { access_token: 'token', expires_in: 3600, token_type: 'Bearer' },
    '/secrets/e6q/payload': { versionId: '1', entries: [{ key: 'password', textValue: 'pa$$ word' }] },
    '/groups?folderId=b1g&pageSize=100&pageToken=': {
      instanceGroups: groups.map((name, index) => ({ id: `cl${index}`, name })),
    },
    '/groups/cl0/instances?pageSize=100&pageToken=': {
      instances: [
        machine('collector-1', 'ru-central1-a', '10.10.1.5'),
        { name: 'collector-2', status: 'CREATING_INSTANCE' },
      ],
      nextPageToken: '2',
    },
    '/groups/cl0/instances?pageSize=100&pageToken=2': {
      instances: [machine('collector-3', 'ru-central1-d', '10.10.3.9')],
    },
    '/groups/cl1/instances?pageSize=100&pageToken=': {
      instances: [machine('collector-4', 'ru-central1-a', '10.10.1.7')],
    },
    '/groups/cl2/instances?pageSize=100&pageToken=': {
      instances: [machine('streamer-1', 'ru-central1-b', '10.10.2.4')],
    },
  };
  const server = createServer(({ url, headers }, response) => {
    const isAllowed =
      url === '/token' ? headers['metadata-flavor'] === 'Google' : headers.authorization === 'Bearer token';
    response.statusCode = isAllowed ? (url in answers ? 200 : 404) : 401;
    response.end(JSON.stringify(answers[url]));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

async function checkPrepare({ directory, scratch, url }) {
  const [run, bin, commands, wanted] = ['run', 'bin', 'commands', 'prepare.json'].map((name) =>
    join(scratch, name),
  );
  mkdirSync(bin);
  writeFileSync(
    join(bin, 'docker'),
    `#!/bin/sh\nprintf '%s\\n' "$*" >> '${commands}'\n[ "$1" != login ] || cat >> '${commands}'\n`,
    {
      mode: 0o755,
    },
  );
  const secrets = { PASSWORD: { secret_id: 'e6q', key: 'password', version: 1 } };
  const prepare = {
    directory: run,
    image: 'registry.example/a:1',
    login: true,
    secrets,
    ca_url: null,
    owner: process.getuid(),
    data: null,
  };
  const program = {
    name: 'prepare',
    files: join(directory, 'modules/container/files'),
    constants: { METADATA: `${url}/token`, LOCKBOX: `${url}/secrets` },
  };
  writeFileSync(wanted, JSON.stringify(prepare));
  await runPython(program, [wanted], bin);
  const secret = join(run, 'PASSWORD');
  if (readFileSync(secret, 'utf8') !== 'pa$$ word')
    throw new CheckError('prepare.py wrote another secret than it was given');
  if ((statSync(secret).mode & 0o077) !== 0)
    throw new CheckError('a secret that prepare.py wrote can be read by others');
  const said = readFileSync(commands, 'utf8');
  if (
    !/^login .*--password-stdin registry\.example\ntoken.*pull --quiet registry\.example\/a:1\n$/s.test(said)
  )
    throw new CheckError(`prepare.py ran docker otherwise than expected: ${said}`);
  writeFileSync(
    wanted,
    JSON.stringify({ ...prepare, secrets: { PASSWORD: { ...secrets.PASSWORD, key: 'other' } } }),
  );
  const refused = await runPython(program, [wanted], bin).catch(({ message }) => message);
  if (!/secret e6q has no key other/.test(refused))
    throw new CheckError(`prepare.py did not name a missing key: ${refused}`);
}

async function checkDiscover({ directory, scratch, url }) {
  const [settings, targets] = [join(scratch, 'settings.json'), join(scratch, 'targets')];
  mkdirSync(targets);
  const known = { folder: 'b1g', prefix: 'millrace-', ports: { collector: 8080, streamer: 8081 } };
  writeFileSync(settings, JSON.stringify(known));
  // Of a group that is there no more.
  writeFileSync(join(targets, 'collector-red.json'), '[]');
  const constants = { METADATA: `${url}/token`, GROUPS: `${url}/groups` };
  await runPython({ name: 'discover', files: join(directory, 'modules/monitoring/files'), constants }, [
    settings,
    targets,
  ]);
  const found = readdirSync(targets)
    .sort()
    .map((file) => {
      const entries = JSON.parse(readFileSync(join(targets, file), 'utf8'));
      return [
        file,
        ...entries.map(({ targets: [target], labels }) => [target, labels.colour].join(' ').trim()),
      ];
    });
  const expected = [
    ['collector-blue.json', '10.10.1.5:8080 blue', '10.10.3.9:8080 blue'],
    ['collector-green.json', '10.10.1.7:8080 green'],
    ['streamer.json', '10.10.2.4:8081'],
  ];
  if (JSON.stringify(found) !== JSON.stringify(expected))
    throw new CheckError(`discover.py wrote other targets: ${JSON.stringify(found)}`);
}

/** Runs a program's `main` with other addresses in place of the cloud's. */
async function runPython({ name, files, constants }, args, bin = '') {
  const settings = Object.entries(constants).map(
    ([key, value]) => `${name}.${key} = ${JSON.stringify(value)}`,
  );
  const code = ['import sys', `import ${name}`, ...settings, `${name}.main(*sys.argv[1:])`].join('\n');
  const env = { PYTHONPATH: files, PYTHONDONTWRITEBYTECODE: '1', PATH: `${bin}:${process.env.PATH}` };
  return await runTool(['python3', '-c', code, ...args], { env });
}
