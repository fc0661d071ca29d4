/** The balancer: its configuration by HAProxy itself, and a rolling restart of two real collectors behind it. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckError, runTool } from '../check.mjs';

const file = 'docker/haproxy/haproxy.cfg';

/** The certificate is made as docker/init makes it. @param {import('../check.mjs').Site} site */
async function checkConfiguration({ root, scratch }) {
  for (const name of ['init', '.env.example']) copyFileSync(join(root, 'docker', name), join(scratch, name));
  await runTool([join(scratch, 'init')]);
  // Names of the compose file are not known here.
  const env = {
    TLS_PEM: join(scratch, 'secrets/tls.pem'),
    COLLECTOR_1: '127.0.0.1:1',
    COLLECTOR_2: '127.0.0.1:2',
  };
  // -dW: a warning is a fault, too.
  await runTool(['haproxy', '-c', '-dW', '-f', join(root, file)], { env });
  const text = readFileSync(join(root, file), 'utf8');
  const { problems } = await import(new URL('../../../dist/collector/problem.js', import.meta.url).href);
  const answers = [...text.matchAll(/http-error status (\d+) .*? string '(.*?)'/g)];
  for (const [, status, body] of answers) checkAnswer(Number(status), JSON.parse(body), problems);
  return `${(await runTool(['haproxy', '-v'])).split(' ', 3).join(' ')} takes it, ${answers.length} own answers agree with the collector's`;
}

function checkAnswer(status, body, problems) {
  const known = problems[body.code];
  if (
    known === undefined ||
    known.retry !== body.retry ||
    known.title !== body.title ||
    body.status !== status
  )
    throw new CheckError(
      `${file}: the answer ${status} does not agree with code ${body.code} of the collector`,
    );
}

/** @param {import('../check.mjs').Site} site */
async function checkRollingRestart({ root }) {
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts'];
  const said = await runTool(
    ['node', ...vitest, '--project', 'alone', 'test/faults/rolling-restart.test.ts'],
    { cwd: root, env: { TEST_REQUIRE_HAPROXY: '1', MILLRACE_REQUIRE_KAFKA: '1' }, timeoutMs: 600_000 },
  );
  const lines = [...said.matchAll(/rolling restart: (.*)/g)].map(([, line]) => line);
  if (lines.length === 0) throw new CheckError(`no rolling restart took place:\n${said}`);
  return lines.join('; ');
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'haproxy configuration',
    tools: ['haproxy', 'openssl'],
    run: checkConfiguration,
    mistakes: [
      { file, find: 'balance leastconn', replace: 'balance leastcon', says: /leastcon/ },
      { file, find: 'default_backend collectors', replace: 'default_backend collector', says: /collector/ },
      { file, find: '"retry":true', replace: '"retry":false', says: /OUTCOME_UNKNOWN/ },
    ],
  },
  {
    name: 'rolling restart',
    tools: ['haproxy'],
    run: checkRollingRestart,
    mistakes: [
      {
        // Not long enough for HAProxy to notice.
        file: 'docker/compose.yaml',
        find: 'MILLRACE_DRAIN_DELAY: 3s',
        replace: 'MILLRACE_DRAIN_DELAY: 0s',
        says: /rolling-restart/,
      },
    ],
  },
];
