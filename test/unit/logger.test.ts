import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { createScrubber, redactNamed } from '../../src/redact.ts';

const logger = fileURLToPath(new URL('../../dist/logger.js', import.meta.url));

/** What the built logger writes to its standard error. */
function logged(
  code: string,
  secrets: readonly string[] = [],
): { line: string; fields: Record<string, unknown> } {
  const script = `import { createLogger } from ${JSON.stringify(logger)};
    const log = createLogger('test', 'info', { secrets: ${JSON.stringify(secrets)} });
    ${code}`;
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  return { line: stderr, fields: JSON.parse(stderr) as Record<string, unknown> };
}

describe('a line of the log', () => {
  test('says when, how bad, who and what', () => {
    const { fields } = logged("log.info({ url: 'http://a' }, 'hello');");
    expect(fields).toMatchObject({ level: 'info', msg: 'hello', service: 'millrace-test', url: 'http://a' });
    expect(fields.time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(Object.keys(fields)).toEqual(['level', 'time', 'service', 'version', 'host', 'pid', 'url', 'msg']);
  });

  test('shows an error with its type and stack, and no secret in it', () => {
    const { line, fields } = logged(
      "log.error({ err: Object.assign(new Error('no answer from http://u:pa55word@db/'), { token: 't0ken' }) }, 'x');",
    );
    expect(fields.err).toMatchObject({ type: 'Error', message: 'no answer from http://[redacted]@db/' });
    expect(line).not.toMatch(/pa55word|t0ken/);
  });

  test('shows no secret of a configuration, however it gets there', () => {
    const password = 'sw"ordfish/1';
    const { config } = loadConfig({
      flags: {},
      env: { MILLRACE_CLICKHOUSE_PASSWORD: password },
      allowed: [],
    });
    const { line, fields } = logged(
      `const config = ${JSON.stringify(config)};
       log.info({ config, copy: [{ deep: config.clickhousePassword }] }, 'with ' + config.clickhousePassword);`,
      [password],
    );
    expect(line).not.toContain('ordfish');
    expect(fields).toMatchObject({
      config: { clickhousePassword: '[redacted]', clickhouseUser: 'default' },
      copy: [{ deep: '[redacted]' }],
      msg: 'with [redacted]',
    });
  });
});

test('errors are reported beside the log, and nothing less', () => {
  const script = `import { createLogger } from ${JSON.stringify(logger)};
    const report = ({ level, message, fields }) => console.log(level, message, Object.keys(fields).join());
    const log = createLogger('test', 'info', { reporter: { report, flush: async () => {} } });
    log.warn('no'); log.error({ err: new Error('x'), topic: 't' }, 'lost'); log.fatal('the end');`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(run.stdout).toBe('error lost err,topic\nfatal the end \n');
  expect(run.stderr.trim().split('\n')).toHaveLength(3);
});

describe('redaction', () => {
  test.each([
    ['http://user:pass@host/path', 'http://[redacted]@host/path'],
    ['clickhouse://u:p@ss@host', 'clickhouse://[redacted]@host'],
    ['http://host/?password=hunter2&database=default', 'http://host/?password=[redacted]&database=default'],
    ['https://host/x?a=1&access_token=abc#part', 'https://host/x?a=1&access_token=[redacted]#part'],
    ['{"msg":"authorization: Bearer eyJhbGciOi.x"}', '{"msg":"authorization: Bearer [redacted]"}'],
    ['http://host:8123/path and me@example.org', 'http://host:8123/path and me@example.org'],
  ])('of %s', (text, expected) => {
    expect(createScrubber()(text)).toBe(expected);
  });

  test('by name leaves the rest as it is', () => {
    const value = {
      sentryDsn: 'https://k@s/1',
      headers: { authorization: 'x' },
      'Idempotency-Key': 'k',
      list: [{ api_key: 'a', count: 1 }],
      at: new Date(0),
      clickhousePassword: '',
      partition: 3,
    };
    expect(redactNamed(value)).toEqual({
      sentryDsn: '[redacted]',
      headers: '[redacted]',
      'Idempotency-Key': '[redacted]',
      list: [{ api_key: '[redacted]', count: 1 }],
      at: new Date(0),
      clickhousePassword: '',
      partition: 3,
    });
  });

  test('ends in a circle', () => {
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    expect(JSON.stringify(redactNamed(circle))).toContain('[too deep]');
  });
});
