/**
 * A stand-in for the provider of Yandex Cloud with its real schema. The provider itself cannot be built everywhere: its
 * Go module can be had, some of what it depends on cannot. But the module has the reference of every argument with
 * its type: that is read here, and served to terraform by a program of 100 lines, terraform-provider/main.go.
 *
 * What the reference does not tell is taken to be allowed: which blocks may come once only, and ranges of values. What it
 * says wrongly is left out: data sources that are looked up by id or name seem to require the name.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTool } from './check.mjs';
import { cacheDirectory } from './tools.mjs';

/** The one that terraform/versions.tf is written for. */
export const providerVersion = '0.222.0';
const module = 'github.com/yandex-cloud/terraform-provider-yandex';
/** Nested attributes are written with `=`; that they are maps is said in words only. */
const maps = new Set(['yandex_mdb_clickhouse_cluster_v2.hosts', 'yandex_mdb_clickhouse_cluster_v2.shards']);

/**
 * Environment with which terraform finds the stand-in.
 * @param {string} scratch
 * @returns {Promise<Record<string, string>>}
 */
export async function provideYandex(scratch) {
  const platform = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;
  const mirror = join(cacheDirectory, 'terraform');
  const directory = join(mirror, 'registry.terraform.io/yandex-cloud/yandex', providerVersion, platform);
  mkdirSync(directory, { recursive: true });
  const sources = fileURLToPath(new URL('terraform-provider', import.meta.url));
  const binary = join(directory, `terraform-provider-yandex_v${providerVersion}`);
  // Go keeps what it has compiled: another time this takes a second.
  await runTool(['go', 'build', '-trimpath', '-o', binary, '.'], { cwd: sources, timeoutMs: 1_800_000 });
  const schema = join(scratch, 'schema.json');
  writeFileSync(schema, JSON.stringify(await readSchemas(scratch)));
  const installation = `filesystem_mirror {\n    path = ${JSON.stringify(mirror)}\n  }`;
  return { ...terraformEnvironment(scratch, installation), PROVIDER_SCHEMA: schema };
}

/**
 * Environment in which terraform asks no server.
 * @param {string} scratch
 * @param {string} [installation] where providers come from
 */
export function terraformEnvironment(scratch, installation = '') {
  const configuration = join(scratch, 'terraform.rc');
  writeFileSync(configuration, installation === '' ? '' : `provider_installation {\n  ${installation}\n}\n`);
  return { TF_CLI_CONFIG_FILE: configuration, CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1' };
}

async function readSchemas(cwd) {
  const said = await runTool(['go', 'mod', 'download', '-json', `${module}@v${providerVersion}`], { cwd });
  const reference = join(JSON.parse(said).Dir, 'docs');
  const readAll = (kind) =>
    readdirSync(join(reference, kind))
      .filter((file) => file.endsWith('.md'))
      .map((file) =>
        readResource(`yandex_${file.slice(0, -3)}`, readFileSync(join(reference, kind, file), 'utf8')),
      );
  return { provider: {}, resources: readAll('resources'), dataSources: readAll('data-sources') };
}

function readResource(name, text, mayRequire) {
  const [, section = ''] = text.split('## Arguments & Attributes Reference');
  const root = { path: name, depth: -2, children: [] };
  const open = [root];
  for (const line of section.split('\n## ')[0].split('\n')) {
    const entry = readEntry(line);
    if (entry === undefined) continue;
    entry.isRequired &&= mayRequire;
    while (open.at(-1).depth >= entry.depth) open.pop();
    const parent = open.at(-1);
    parent.children.push({ ...entry, path: `${parent.path}.${entry.name}` });
    open.push(parent.children.at(-1));
  }
  return { name, ...makeBlock(root) };
}

/** As "  - `size` (**Required**)(Number). Size of the disk." */
function readEntry(line) {
  const [, indent, name, marks = '', text = ''] =
    /^( *)- `([a-z0-9_]+)`((?: ?[([]\**[A-Za-z*\- ]+\**[)\]])*)\s*\.(.*)$/.exec(line) ?? [];
  if (name === undefined) return undefined;
  const kind = /\[Block\]/.test(marks)
    ? 'Block'
    : /\((Bool|Number|String|(?:List|Set|Map) Of \w+)\)/.exec(marks)?.[1];
  const isReadOnly = /Read-Only/.test(marks) || kind === undefined;
  return {
    depth: indent.length,
    name,
    kind: kind ?? 'String',
    isRequired: /Required/.test(marks),
    isReadOnly,
    text,
    children: [],
  };
}

/** Attributes come first and blocks after them, each in the order of the alphabet. */
function makeBlock({ children }) {
  let firstBlock = children.length;
  while (firstBlock > 0 && children[firstBlock - 1].kind === 'Block') firstBlock--;
  for (let at = firstBlock + 1; at < children.length; at++)
    if (children[at].name < children[at - 1].name) firstBlock = at;
  return {
    attributes: children.slice(0, firstBlock).map(makeAttribute),
    blocks: children.slice(firstBlock).map((child) => ({ name: child.name, ...makeBlock(child) })),
  };
}

function makeAttribute(entry) {
  const { name, kind, isRequired, isReadOnly, text } = entry;
  const isFilledIn = name === 'id' || /default provider `folder-id`|automatically|will be equal/.test(text);
  const usage = {
    name,
    required: isRequired,
    optional: !isRequired && !isReadOnly,
    computed: !isRequired && (isReadOnly || isFilledIn),
    writeOnly: /write-only/.test(text) && name.endsWith('_wo'),
  };
  if (kind !== 'Block') return { ...usage, type: makeType(entry) };
  return {
    ...usage,
    nesting: maps.has(entry.path) ? 'map' : 'single',
    children: entry.children.map(makeAttribute),
  };
}

/** In the notation of Terraform's JSON, as ["list", "string"]. */
function makeType({ kind, children }) {
  const [collection, element] = kind.toLowerCase().split(' of ');
  if (element === undefined) return collection;
  if (element !== 'object') return [collection, element];
  const members = children.map((child) => [
    child.name,
    child.children.length > 0 ? makeType({ ...child, kind: 'List Of Object' }) : 'string',
  ]);
  return [collection, ['object', Object.fromEntries(members)]];
}
