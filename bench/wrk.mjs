/** Drives a URL with wrk. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MissingError } from './program.mjs';

const execute = promisify(execFile);
const mark = 'RESULT ';

/** Version of the installed wrk. */
export async function readWrkVersion() {
  // `wrk -v` prints its version and ends with 1.
  const { code, stdout } = await execute('wrk', ['-v']).catch((error) => error);
  if (code === 'ENOENT') {
    throw new MissingError('wrk is not installed: `apt-get install wrk`, or build github.com/wg/wrk');
  }
  return /wrk (\S+)/.exec(stdout)?.[1] ?? 'unknown';
}

/** Writes the script for posts of `body`: nothing of it runs per request, only once at the end. */
export async function writeScript(dir, { name, type, body }) {
  const path = join(dir, `${name}.lua`);
  await writeFile(
    path,
    `wrk.method = "POST"
wrk.headers["Content-Type"] = "${type}"
wrk.body = [[${body}]]
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '${mark}{"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}\\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
`,
  );
  return path;
}

/**
 * Posts as fast as answers come.
 * @returns answers, those that were not 2xx (wrk counts from 400 on; the collector never redirects), broken
 * connections, seconds, and milliseconds of latency
 */
export async function runWrk(url, { script, connections, threads, seconds }) {
  const { stdout } = await execute('wrk', [
    ...['-c', String(connections), '-t', String(threads), '-d', `${seconds}s`],
    ...['--timeout', '15s', '-s', script, url],
  ]);
  const line = stdout.split('\n').find((candidate) => candidate.startsWith(mark));
  if (line === undefined) throw new Error(`wrk gave no result:\n${stdout}`);
  const { requests, microseconds, refused, broken, p50, p99 } = JSON.parse(line.slice(mark.length));
  return {
    answers: requests,
    refused,
    broken,
    seconds: microseconds / 1e6,
    p50Ms: p50 / 1e3,
    p99Ms: p99 / 1e3,
  };
}
