/** ansible/: the linter, arguments that are refused, and the plays themselves, run on this machine. */

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fetchKafkaJars } from '../../../dist/tools/kafka-java.js';
import { playTwice, refuses, runAnsible, secrets, writeBelow, writeScratch } from '../ansible.mjs';
import { CheckError, runTool } from '../check.mjs';
import { freePort } from '../network.mjs';
import { requireHardening, tryCollectorUnit, verifyUnits } from '../unit.mjs';

async function lint(site) {
  await runAnsible(site, ['ansible-lint', '--offline', '--strict', '--profile', 'production']);
  const roles = readdirSync(join(site.root, 'ansible/roles'));
  for (const role of roles)
    if (!existsSync(join(site.root, 'ansible/roles', role, 'meta/argument_specs.yml')))
      throw new CheckError(`role ${role} has no meta/argument_specs.yml`);
  return `${roles.length} roles, production profile`;
}

async function checkPlaybooks(site) {
  await runAnsible(site, ['ansible-playbook', '--syntax-check', 'site.yml', 'update.yml']);
  const graph = await runAnsible(site, ['ansible-inventory', '--graph']);
  const groups = ['balancers', 'collectors', 'streamers', 'kafka', 'clickhouse', 'monitoring', 'consul'];
  for (const group of groups)
    if (!new RegExp(`@${group}:\\s+\\|  \\|--\\w`).test(graph))
      throw new CheckError(`group ${group} of the example has no host:\n${graph}`);
  const { clickhouse_password: _, ...others } = secrets;
  await refuses(site, ['site.yml', '-e', JSON.stringify(others)], /clickhouse_password is not set/);
  return `2 playbooks, ${groups.length} groups of the example inventory, a missing secret is refused`;
}

async function runCollector(site) {
  const prefix = join(site.scratch, 'host');
  const address = `127.0.0.1:${await freePort()}`;
  const vars = {
    ...(await writeBelow(site.root, prefix)),
    millrace_version: JSON.parse(readFileSync(join(site.root, 'package.json'), 'utf8')).version,
    millrace_clickhouse_password: secrets.clickhouse_password,
    millrace_collector_listen: address,
    // Nobody is there: a collector starts without ClickHouse.
    millrace_options: { 'clickhouse-url': 'http://127.0.0.1:9' },
  };
  const inventory = writeScratch(site, 'hosts.json', {
    collectors: { hosts: { here: {} } },
    streamers: { hosts: {} },
  });
  const args = ['-i', inventory, 'update.yml', '-e', `@${writeScratch(site, 'vars.json', vars)}`];
  const changed = await playTwice(site, args);
  const wrong = (name, value) => [...args, '-e', JSON.stringify({ [name]: value })];
  await refuses(site, wrong('millrace_collector_workers', 'many'), /'many'.* int/);
  await refuses(
    site,
    wrong('millrace_service_manager', 'runit'),
    /must be one of: systemd, none, got: runit/,
  );
  await refuses(site, wrong('millrace_collector_options', { worker: 2 }), /the nearest one is workers/);
  const unit = join(prefix, 'etc/systemd/system/millrace-collector.service');
  await tryCollectorUnit(unit, { url: `http://${address}`, scratch: site.scratch });
  return `changed=${changed}, then changed=0; 3 wrong arguments refused; the command of the unit took an event`;
}

/** A host of each group of the example. */
async function renderSite(site) {
  const hosts = ['collector1', 'streamer1', 'kafka1', 'clickhouse1', 'balancer1', 'monitoring1'];
  const hostsDirectory = join(site.scratch, 'hosts');
  const vars = {
    ...(await writeBelow(site.root, `${hostsDirectory}/{{ inventory_hostname }}`)),
    // The promtool of Debian knows nothing of Consul.
    prometheus_consul: '',
    // Of their own, and on this machine, so that nobody else is asked for /readyz.
    private_address: "127.0.0.{{ 2 + groups['all'].index(inventory_hostname) }}",
    haproxy_certificate: await makeCertificate(site),
  };
  const args = ['site.yml', '--limit', hosts.join(), '-e', `@${writeScratch(site, 'vars.json', vars)}`];
  const changed = await playTwice(site, args);
  const units = [];
  for (const host of hosts) {
    const directory = join(hostsDirectory, host, 'etc/systemd/system');
    units.push(...(await verifyUnits(directory, join(site.scratch, 'verify', host))));
  }
  for (const unit of units.filter((path) => basename(path).startsWith('millrace-')))
    await requireHardening(unit, 13);
  await tryConfigurations(site, hostsDirectory);
  return `${hosts.length} hosts of the example: changed=${changed}, then changed=0; ${units.length} units`;
}

/** Gives what was written for programs of others to these programs. */
async function tryConfigurations(site, hostsDirectory) {
  JSON.parse(readFileSync(join(hostsDirectory, 'collector1/etc/consul/consul.json'), 'utf8'));
  const properties = join(hostsDirectory, 'kafka1/etc/kafka/server.properties');
  const data = join(site.scratch, 'kafka');
  mkdirSync(data);
  const here = join(site.scratch, 'server.properties');
  writeFileSync(here, readFileSync(properties, 'utf8').replace('/var/lib/kafka/data', data));
  const jars = join(await fetchKafkaJars(() => {}), '*');
  const format = [
    'format',
    '--ignore-formatted',
    `--cluster-id=${secrets.kafka_cluster_id}`,
    `--config=${here}`,
  ];
  await runTool(['java', '-cp', jars, 'kafka.tools.StorageTool', ...format]);
  await runTool([
    'promtool',
    'check',
    'config',
    join(hostsDirectory, 'monitoring1/etc/prometheus/prometheus.yml'),
  ]);
}

async function makeCertificate({ scratch }) {
  const path = join(scratch, 'tls.pem');
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test', '-days', '1'];
  await runTool(['openssl', ...request, '-keyout', path, '-out', path]);
  return path;
}

const role = (name, file) => `ansible/roles/${name}/${file}`;

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'ansible lint',
    heavy: true,
    tools: ['ansible-lint'],
    run: lint,
    mistakes: [
      {
        file: role('millrace', 'tasks/install.yml'),
        find: 'ansible.builtin.user:',
        replace: 'user:',
        says: /fqcn/,
      },
      {
        file: role('kafka', 'tasks/main.yml'),
        find: 'loop_control:\n    label',
        replace: 'loop_control:\n   label: [',
        says: /yaml|syntax|parsing/i,
      },
    ],
  },
  {
    name: 'ansible playbooks',
    heavy: true,
    tools: ['ansible-lint'],
    run: checkPlaybooks,
    mistakes: [
      { file: 'ansible/site.yml', find: '- kafka\n', replace: '- kafak\n', says: /kafak/ },
      {
        file: 'ansible/inventory/example/hosts.yml',
        find: '    streamers:\n      hosts:\n',
        replace: '    streamers:\n      host:\n',
        says: /streamers/,
      },
      {
        file: 'ansible/inventory/example/group_vars/all.yml',
        find: '  - clickhouse_password\n',
        replace: '',
        says: /instead of|went through/,
      },
    ],
  },
  {
    name: 'ansible collector on this machine',
    heavy: true,
    tools: ['ansible-lint'],
    run: runCollector,
    mistakes: [
      {
        file: role('millrace', 'templates/millrace.yaml.j2'),
        find: "'data-dir'",
        replace: "'data-dri'",
        says: /the nearest one is data-dir/,
      },
      {
        file: role('millrace_collector', 'tasks/main.yml'),
        find: '    millrace_process: collector\n',
        replace: '',
        says: /missing required arguments: millrace_process/,
      },
      {
        file: role('millrace', 'tasks/install.yml'),
        find: '    owner: ',
        replace: '    ownr: ',
        says: /Unsupported parameters.*ownr/,
      },
      {
        file: role('millrace', 'templates/millrace.service.j2'),
        find: 'ExecStart={{ millrace_program }} {{ millrace_command }}',
        replace: 'ExecStart={{ millrace_program }} colect',
        says: /there is no command 'colect'/,
      },
    ],
  },
  {
    name: 'ansible site on this machine',
    heavy: true,
    tools: ['ansible-lint', 'systemd-analyze', 'haproxy', 'promtool'],
    run: renderSite,
    mistakes: [
      {
        file: role('millrace', 'templates/millrace.service.j2'),
        find: 'ProtectSystem=strict',
        replace: 'ProtectSytem=strict',
        says: /Unknown key.*ProtectSytem/,
      },
      {
        file: role('millrace', 'templates/millrace.service.j2'),
        find: 'SystemCallFilter=@system-service\n',
        replace: '',
        says: /exposure level/,
      },
      {
        file: role('haproxy', 'templates/millrace.conf.j2'),
        find: 'Environment=TLS_PEM',
        replace: 'Environmnet=TLS_PEM',
        says: /Unknown key.*Environmnet/,
      },
      {
        file: role('kafka', 'templates/server.properties.j2'),
        find: 'controller.listener.names=CONTROLLER',
        replace: 'controller.listener.names=CONTROLER',
        says: /CONTROLER/,
      },
    ],
  },
];
