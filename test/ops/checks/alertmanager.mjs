/** Alertmanager: who gets which alert, what is silenced by what, and that messages get out, by a real Alertmanager. */
import { spawn } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { CheckError, runTool } from '../check.mjs';
import { freePort, listen, until } from '../network.mjs';
import { toolEnvironment, versionOf } from '../tools.mjs';

const directory = 'docker/alertmanager';
const configuration = `${directory}/alertmanager.yml`;
const rulesOfTwoKinds = [
  ['severity=page', 'page'],
  ['severity=ticket', 'ticket'],
  ['alertname=OfSomebodyElse', 'ticket'],
];

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'alertmanager routes',
    tools: ['amtool'],
    run: checkRoutes,
    mistakes: [
      {
        file: configuration,
        find: '      receiver: page\n',
        replace: '      receiver: ticket\n',
        says: /severity=page/,
      },
      { file: configuration, find: 'chat_id: -1000000000000', replace: 'chat: 1', says: /chat/ },
      {
        file: `${directory}/millrace.tmpl`,
        find: '{{ end -}}',
        replace: '{{ ende -}}',
        says: /ende/,
      },
      {
        file: configuration,
        find: 'alertname = MillraceRetentionShrinking',
        replace: 'alertname = MillraceRetentionShort',
        says: /MillraceRetentionShort/,
      },
    ],
  },
  {
    name: 'alertmanager at work',
    tools: ['prometheus-alertmanager', 'amtool'],
    run: checkAtWork,
    mistakes: [
      {
        file: configuration,
        find: 'source_matchers: [severity = page, slo',
        replace: 'source_matchers: [severity = pages, slo',
        says: /MillraceRequestsFailingSlowly is not inhibited/,
      },
      {
        file: configuration,
        find: '    equal: [environment, instance]',
        replace: '    equal: [environment]',
        says: /MillraceRestarting is inhibited/,
      },
      {
        file: `${directory}/millrace.tmpl`,
        find: '.Annotations.runbook_url',
        replace: '.Annotations.runbook',
        says: /docs\/runbook\.md/,
      },
    ],
  },
];

async function checkRoutes({ root, scratch }) {
  const path = prepare(root, scratch);
  await runTool(['amtool', 'check-config', path]);
  for (const [label, receiver] of rulesOfTwoKinds)
    await runTool([
      ...['amtool', 'config', 'routes', 'test', `--config.file=${path}`],
      ...[`--verify.receivers=${receiver}`, label],
    ]);
  const alerts = new Set(readAlerts(root));
  const { inhibit_rules: rules } = parse(readFileSync(path, 'utf8'));
  for (const name of rules.flatMap(alertsOf))
    if (!alerts.has(name)) throw new CheckError(`an inhibition names ${name}: there is no such alert`);
  return `${rulesOfTwoKinds.length} routes, ${rules.length} inhibitions, all of alerts that exist`;
}

/** Sends alerts to a real Alertmanager whose Slack and Telegram are here. */
async function checkAtWork({ root, scratch }) {
  const messages = [];
  const server = createServer((request, response) => receive(request, response, messages));
  const receiver = `http://127.0.0.1:${await listen(server)}`;
  const port = await freePort();
  const path = prepare(root, scratch, (config) => redirect(config, scratch, receiver));
  const child = spawn(
    'prometheus-alertmanager',
    [
      ...[`--config.file=${path}`, `--storage.path=${scratch}/data`, '--cluster.listen-address='],
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { env: toolEnvironment, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  try {
    const url = `http://127.0.0.1:${port}`;
    await until('Alertmanager to answer', async () => (await fetch(`${url}/-/ready`)).ok).catch((error) => {
      throw new CheckError(`${error.message}:\n${said}`);
    });
    await post(url);
    await checkInhibited(url);
    await until('a page by Slack and Telegram, a ticket by Slack', () => isTold(messages)).catch((error) => {
      throw new CheckError(`${error.message}; what came: ${JSON.stringify(messages)}\n${said}`);
    });
    return `${alerts.length} alerts sent: inhibited as meant, told by Slack and Telegram`;
  } finally {
    child.kill('SIGKILL');
    server.close();
    server.closeAllConnections();
  }
}

/** What is sent, and whether something else among it silences it. */
const alerts = [
  { alertname: 'MillraceNoStreamer', severity: 'page', isInhibited: false },
  { alertname: 'MillraceDeliveryStuck', severity: 'page', partition: '0', isInhibited: true },
  { alertname: 'MillraceRequestsFailing', severity: 'page', slo: 'requests', isInhibited: false },
  { alertname: 'MillraceRequestsFailingSlowly', severity: 'ticket', slo: 'requests', isInhibited: true },
  { alertname: 'MillraceInstanceDown', severity: 'ticket', instance: 'a', isInhibited: false },
  { alertname: 'MillraceSpoolUnsure', severity: 'ticket', instance: 'a', isInhibited: true },
  { alertname: 'MillraceRestarting', severity: 'ticket', instance: 'b', isInhibited: false },
];

async function post(url) {
  const body = alerts.map(({ isInhibited, ...labels }) => ({
    labels: { ...labels, environment: 'test' },
    annotations: {
      summary: `${labels.alertname} & <friends>`,
      description: 'what it is',
      runbook_url: `docs/runbook.md#${labels.alertname.toLowerCase()}`,
    },
  }));
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/api/v2/alerts`, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new CheckError(`Alertmanager did not take the alerts: ${await answer.text()}`);
}

async function checkInhibited(url) {
  const read = async () => (await fetch(`${url}/api/v2/alerts`)).json();
  await until('Alertmanager to judge all alerts', async () => {
    const seen = await read();
    return seen.length === alerts.length && seen.every(({ status }) => status.state !== 'unprocessed');
  });
  const seen = await read();
  for (const { alertname, isInhibited } of alerts) {
    const { status } = seen.find(({ labels }) => labels.alertname === alertname);
    if ((status.state === 'suppressed') !== isInhibited)
      throw new CheckError(`${alertname} ${isInhibited ? 'is not inhibited' : 'is inhibited'}`);
  }
}

function isTold(messages) {
  const find = (path, name) =>
    messages.some(
      ({ url, text }) =>
        url.startsWith(path) &&
        text.includes(`docs/runbook.md#${name.toLowerCase()}`) &&
        text.includes('test'),
    );
  return (
    find('/slack', 'MillraceNoStreamer') &&
    find('/bot', 'MillraceNoStreamer') &&
    find('/slack', 'MillraceInstanceDown') &&
    !find('/bot', 'MillraceInstanceDown')
  );
}

function receive(request, response, messages) {
  let text = '';
  request.on('data', (data) => (text += data));
  request.on('end', () => {
    messages.push({ url: request.url, text });
    response.setHeader('content-type', 'application/json');
    response.end(
      request.url.startsWith('/bot')
        ? '{"ok":true,"result":{"message_id":1,"date":0,"chat":{"id":-1,"type":"group"}}}'
        : 'ok',
    );
  });
}

/** Writes the configuration where the tools find all of it; gives its path. */
function prepare(root, scratch, change) {
  cpSync(join(root, directory, 'millrace.tmpl'), join(scratch, 'millrace.tmpl'));
  const text = readFileSync(join(root, configuration), 'utf8').replace('/etc/alertmanager/', `${scratch}/`);
  const path = join(scratch, 'alertmanager.yml');
  // Debian 12 has 0.25, which does not know bot_token_file.
  const isOld = / 0\.(1\d|2[0-5])\./.test(versionOf('amtool'));
  const known = isOld ? text.replace('bot_token_file: ', 'bot_token: ') : text;
  writeFileSync(path, change === undefined ? known : stringify(change(parse(known))));
  return path;
}

/** Nothing of this goes to anybody, and nobody waits for it. */
function redirect(config, scratch, receiver) {
  const slack = join(scratch, 'slack');
  const telegram = join(scratch, 'telegram');
  writeFileSync(slack, `${receiver}/slack`);
  writeFileSync(telegram, '1:token');
  config.global.slack_api_url_file = slack;
  config.global.smtp_smarthost = '127.0.0.1:1';
  for (const route of [config.route, ...config.route.routes]) route.group_wait = '1s';
  for (const { telegram_configs: configs = [] } of config.receivers)
    for (const each of configs) {
      each.api_url = receiver;
      if (each.bot_token_file !== undefined) each.bot_token_file = telegram;
      else each.bot_token = '1:token';
    }
  return config;
}

/** Alerts that an inhibition names, in matchers such as `alertname =~ "Millrace(A|B)"`. */
function alertsOf({ source_matchers: source, target_matchers: target }) {
  return [...source, ...target].flatMap((matcher) => {
    const [, prefix, list] = /^alertname =~? "?(\w+)(?:\(([\w|]+)\))?/.exec(matcher) ?? [];
    if (prefix === undefined) return [];
    return list === undefined ? [prefix] : list.split('|').map((name) => prefix + name);
  });
}

function readAlerts(root) {
  const files = ['slo', 'delivery', 'intake', 'dependencies'];
  return files.flatMap((file) => {
    const { groups } = parse(readFileSync(join(root, `docker/prometheus/rules/${file}.yml`), 'utf8'));
    return groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? []));
  });
}
