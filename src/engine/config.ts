/** The configuration files of the engine. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Writes them into the data directory and returns the path of the first. `BACKUP ... TO Disk('backups', ...)` writes
 * to `backups` beside them, and nothing writes elsewhere. Cache sizes fit a process that shares its machine. Without a file of ours the engine reads any `config.xml` of the working directory.
 */
export async function writeConfig(dataDir: string): Promise<string> {
  const configFile = join(dataDir, 'clickhouse.config.xml');
  const usersFile = join(dataDir, 'clickhouse.users.xml');
  await writeFile(usersFile, users);
  await writeFile(
    configFile,
    `<clickhouse>
  <users_config>${escapeXml(usersFile)}</users_config>
  <access_control_improvements><table_engines_require_grant>true</table_engines_require_grant></access_control_improvements>
  <storage_configuration><disks>
    <backups><type>local</type><path>${escapeXml(join(dataDir, 'backups'))}/</path></backups>
  </disks></storage_configuration>
  <backups><allowed_disk>backups</allowed_disk></backups>
  <mark_cache_size>268435456</mark_cache_size>
  <primary_index_cache_size>268435456</primary_index_cache_size>
</clickhouse>
`,
  );
  return configFile;
}

/**
 * The one user may do anything but use files of this machine: a server confines such access to a directory,
 * an embedded engine does not.
 */
const users = `<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password/>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT ALL ON *.*</query>
        <query>REVOKE FILE, SQLITE ON *.*</query>
        <query>REVOKE TABLE ENGINE ON File</query>
        <query>REVOKE TABLE ENGINE ON SQLite</query>
      </grants>
    </default>
  </users>
</clickhouse>
`;

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
