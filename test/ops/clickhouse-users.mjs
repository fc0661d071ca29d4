/**
 * Loads a users.xml into the embedded engine, which is the code of the server, and prints the grants of each of its
 * users. In a process of its own: the engine is never unloaded. Arguments: the file, and an empty directory.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadBinding } from '../../dist/engine/binding.js';

const [file = '', directory = ''] = process.argv.slice(2);
const users = join(directory, 'users.xml');
const config = join(directory, 'config.xml');

// The engine has one user of its own, who is not removed here, and needs the profile that the server's file has.
const own = `<default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
  <grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></default>`;
const removal = '<default remove="remove"/>';
const given = readFileSync(file, 'utf8');
if (!given.includes(removal))
  throw new Error(`${file} does not remove the user default, who has no password`);
const text = given
  .replace(removal, own)
  // Allowed by the config.xml of the server, not by the engine.
  .replace('<changeable_in_readonly/>', '')
  .replace('<profiles>', '<quotas><default/></quotas><profiles><default/>');
writeFileSync(users, text);
writeFileSync(config, `<clickhouse><users_config>${users}</users_config></clickhouse>`);

const binding = loadBinding();
const connection = binding.CreateConnection(join(directory, 'data'), [`--config-file=${config}`]);
const ask = async (sql) => {
  const { bytes } = await binding.QueryAsyncConnection(connection, sql, 'TSVRaw');
  return Buffer.from(bytes).toString().trim();
};
const names = await ask("SELECT name FROM system.users WHERE name != 'default' ORDER BY name");
for (const name of names.split('\n').filter(Boolean)) {
  process.stdout.write(`${await ask(`SHOW GRANTS FOR ${name}`)}\n`);
  process.stdout.write(`${await ask(`SELECT name, auth_type FROM system.users WHERE name = '${name}'`)}\n`);
}
process.stdout.write(`${await ask('SHOW CREATE SETTINGS PROFILE millrace_analyst')}\n`);
process.exit(0);
