/** The users of ClickHouse, as the engine reads them from files of users.d. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { runTool } from './check.mjs';

const script = fileURLToPath(new URL('clickhouse-rights.mjs', import.meta.url));

/** Grants, hosts and limits of every user, as text. */
export function readUsers(directory, files) {
  return run({ directory, files });
}

/**
 * Runs statements with the rights of a user; later calls find what earlier ones have made in that directory.
 * @returns {Promise<string>} what they give
 */
export function runAs(user, { directory, files, statements }) {
  return run({ directory, files, user, statements });
}

function run(task) {
  const hash = createHash('sha256').update('secret').digest('hex');
  const users = ['CLICKHOUSE', 'ANALYST', 'ADMIN', 'VECTOR'];
  const env = Object.fromEntries(users.map((name) => [`${name}_PASSWORD_SHA256`, hash]));
  return runTool(['node', script], { env, input: JSON.stringify(task) });
}
