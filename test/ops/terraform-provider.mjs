/** The real provider of Yandex Cloud, built from its Go module, for its schemas: nothing of it is reached. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runTool } from './check.mjs';
import { cacheDirectory } from './tools.mjs';

const module = 'github.com/yandex-cloud/terraform-provider-yandex';
/** The one that terraform/versions.tf is written for. */
export const providerVersion = '0.222.0';
/** Laid out as `filesystem_mirror` of Terraform wants it. */
const mirror = join(cacheDirectory, 'terraform');

/**
 * Environment with which terraform finds the provider, built if need be: some 15 minutes on two cores, once.
 * @param {string} scratch
 * @returns {Promise<Record<string, string>>}
 */
export async function provideYandex(scratch) {
  const platform = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const source = 'registry.terraform.io/yandex-cloud/yandex';
  const binary = join(
    mirror,
    source,
    providerVersion,
    platform,
    `terraform-provider-yandex_v${providerVersion}`,
  );
  if (!existsSync(binary)) await build(binary);
  return terraformEnvironment(scratch, `filesystem_mirror {\n    path = ${JSON.stringify(mirror)}\n  }`);
}

/**
 * Environment in which terraform asks no server and keeps its own files out of the project.
 * @param {string} scratch
 * @param {string} [installation] where providers come from
 */
export function terraformEnvironment(scratch, installation = '') {
  const configuration = join(scratch, 'terraform.rc');
  writeFileSync(configuration, installation === '' ? '' : `provider_installation {\n  ${installation}\n}\n`);
  return { TF_CLI_CONFIG_FILE: configuration, CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1' };
}

/**
 * `go install` refuses modules with `replace` lines, so the module is built where it was downloaded to, as its own main
 * module: its go.mod and go.sum name every dependency with its hash.
 */
async function build(binary) {
  const directory = dirname(binary);
  mkdirSync(directory, { recursive: true });
  const said = await runTool(['go', 'mod', 'download', '-json', `${module}@v${providerVersion}`], {
    cwd: directory,
  });
  const { Dir: source } = JSON.parse(said);
  const unfinished = `${binary}.new`;
  const command = [
    'nice',
    '-n',
    '15',
    'go',
    'build',
    '-mod=readonly',
    '-trimpath',
    '-ldflags=-s -w',
    '-o',
    unfinished,
    '.',
  ];
  await runTool(command, { cwd: source, timeoutMs: 90 * 60_000 });
  renameSync(unfinished, binary);
}
