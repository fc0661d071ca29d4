/**
 * Loads files of users.d into the embedded engine, which is the code of the server. In a process of its own: the engine
 * is never unloaded. Standard input: JSON with `directory` and `files`, and either nothing more, to print the grants of
 * each user, or `user` and `statements`, to run these with the rights of that user and print what they give.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { loadBinding } from '../../dist/engine/binding.js';

const { directory, files, user, statements = [] } = JSON.parse(readFileSync(0, 'utf8'));
// Allowed by the config.xml of the server, not by the engine.
const texts = files.map((file) => readFileSync(file, 'utf8').replace('<changeable_in_readonly/>', ''));
const removal = '<default remove="remove"/>';
if (!texts[0].includes(removal))
  throw new Error(`${files[0]} does not remove the user default, who has no password`);

// The engine runs everything as its own user `default`, so that one stays, and gets the rights of others.
const grants = user === undefined ? '<query>GRANT ALL ON *.* WITH GRANT OPTION</query>' : grantsOf(user);
const own = `<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default>
  <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
  <grants>${grants}</grants></default></users></clickhouse>`;
const config = join(directory, 'config.xml');
mkdirSync(join(directory, 'users.d'), { recursive: true });
writeFileSync(join(directory, 'users.xml'), own);
for (const [index, text] of texts.entries())
  writeFileSync(join(directory, 'users.d', nameOf(files[index])), text.replace(removal, ''));
writeFileSync(
  config,
  `<clickhouse><users_config>${join(directory, 'users.xml')}</users_config></clickhouse>`,
);

const binding = loadBinding();
const connection = binding.CreateConnection(join(directory, 'data'), [`--config-file=${config}`]);
for (const statement of statements) print(await ask(statement));
if (user === undefined) await printUsers();
binding.CloseConnection(connection);
process.exit(0);

async function printUsers() {
  const names = await ask("SELECT name FROM system.users WHERE name != 'default' ORDER BY name");
  for (const name of names.split('\n').filter(Boolean)) {
    print(await ask(`SHOW GRANTS FOR ${name}`));
    print(await ask(`SELECT name, auth_type, host_ip, host_names FROM system.users WHERE name = '${name}'`));
  }
  print(await ask('SHOW CREATE SETTINGS PROFILE millrace_analyst'));
  print(await ask('SHOW CREATE QUOTA millrace_analyst'));
}

function grantsOf(name) {
  const pattern = new RegExp(`<${name}>(?:(?!</${name}>)[^])*<grants>([^]*?)</grants>`);
  const found = texts.map((text) => pattern.exec(text.slice(text.indexOf('<users>')))?.[1]).filter(Boolean);
  if (found.length !== 1) throw new Error(`${files.join(' and ')} have no user ${name}`);
  return found[0];
}

/** As in the directory of the server, where each has a name of its own. */
function nameOf(file) {
  return `${basename(dirname(file))}-${basename(file)}`;
}

async function ask(sql) {
  const { bytes } = await binding.QueryAsyncConnection(connection, sql, 'TSVRaw');
  return Buffer.from(bytes).toString().trim();
}

function print(text) {
  process.stdout.write(`${text}\n`);
}
