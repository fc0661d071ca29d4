/** ansible/: the linter, arguments that are refused, and the plays themselves, run on this machine. */

import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { fetchKafkaJars } from '../../../.build/tools/kafka-java.js';
import { playTwice, refuses, runAnsible, secrets, writeBelow, writeScratch } from '../ansible.mjs';
import { CheckError, runTool } from '../check.mjs';
import { freePort } from '../network.mjs';
import { requireHardening, standInForSystemd, tryCollectorUnit, verifyUnits } from '../unit.mjs';

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
  const unfilled = { ...secrets, prometheus_smtp_password: '...' };
  await refuses(site, ['site.yml', '-e', JSON.stringify(unfilled)], /smtp_password .* ends with dots/);
  return `2 playbooks, ${groups.length} groups of the example inventory, missing secrets are refused`;
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
  // Ends with 69, as far as it can get: nobody is at the address of ClickHouse.
  const check = '"$1" check --config "$2" || test $? -eq 69';
  const command = ['usr/local/bin/millrace', 'etc/millrace/collector.yaml'].map((path) => join(prefix, path));
  await runTool(['sh', '-c', check, 'sh', ...command]);
  return `changed=${changed}, then changed=0; 3 wrong arguments refused; the unit took an event, the command works`;
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
  for (const unit of units) await requireHardening(unit, exposureOf(basename(unit)));
  await tryConfigurations(site, hostsDirectory);
  return `${hosts.length} hosts of the example: changed=${changed}, then changed=0; ${units.length} units`;
}

/** Most that a unit may be exposed, in tenths: HAProxy starts as root, Docker's client is root. */
function exposureOf(name) {
  if (name === 'haproxy.service') return 30;
  return name.startsWith('millrace-') ? 13 : 14;
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

/**
 * The monitoring host that Terraform makes, with a stand-in for systemd: first everything, then what a change restarts.
 */
async function runMonitoring(site) {
  const prefix = join(site.scratch, 'host');
  const files = copyMonitoring(site);
  // An engine that is there already is not installed.
  mkdirSync(join(prefix, 'usr/bin'), { recursive: true });
  writeFileSync(join(prefix, 'usr/bin/docker'), '');
  const units = join(prefix, 'etc/systemd/system');
  const told = standInForSystemd(site.scratch, units);
  const vars = {
    ...(await writeBelow(site.root, prefix)),
    ...terraformOutputs,
    docker_service_manager: 'systemd',
    prometheus_files: files,
    prometheus_alertmanager_file: join(files, 'mine.yml'),
    prometheus_clickhouse_password: secrets.clickhouse_analyst_password,
    prometheus_clickhouse_ca: await makeCertificate(site),
  };
  const args = ['-i', 'inventory/cloud', 'site.yml', '-e', `@${writeScratch(site, 'vars.json', vars)}`];
  const changed = await playTwice(site, args);
  const paths = await verifyUnits(units, site.scratch);
  for (const path of paths) await requireHardening(path, exposureOf(basename(path)));
  const names = paths.map((path) => basename(path, '.service'));
  const missing = names.filter((name) => !existsSync(join(site.scratch, `systemd/${name}.enable`)));
  if (missing.length > 0) throw new CheckError(`never enabled: ${missing}`);

  told();
  appendFileSync(join(files, 'prometheus/blackbox.yml'), '# changed\n');
  await runAnsible(site, ['ansible-playbook', ...args]);
  const after = told().join();
  if (after !== 'restart blackbox-exporter')
    throw new CheckError(`a change of blackbox.yml led to: ${after || 'nothing'}`);
  await checkDiscovery(site, prefix);
  return `${names.length} units: changed=${changed}, then changed=0; a change restarts what it is for; targets from files`;
}

/** As `terraform output -json` writes them. */
const terraformOutputs = {
  monitoring_address: { value: '198.51.100.1' },
  url: { value: 'https://events.example.com/v1/events' },
  kafka_brokers: { value: ['kafka-1.example:9092', 'kafka-2.example:9092'] },
  clickhouse: {
    value: { url: 'https://c-1.example:8443', database: 'millrace', users: { analyst: 'analyst' } },
  },
};

/** What the role copies, with routes of one's own. */
function copyMonitoring({ root, scratch }) {
  const files = join(scratch, 'docker');
  for (const name of ['prometheus', 'alertmanager', 'grafana'])
    cpSync(join(root, 'docker', name), join(files, name), { recursive: true });
  const routes = readFileSync(join(files, 'alertmanager/alertmanager.yml'), 'utf8');
  writeFileSync(join(files, 'mine.yml'), routes.replaceAll('oncall@example.com', 'me@example.com'));
  return files;
}

/** The files of targets as terraform/modules/monitoring writes them, and who may read them. */
async function checkDiscovery({ scratch }, prefix) {
  const directory = '/var/lib/prometheus-targets';
  const here = join(scratch, 'targets');
  mkdirSync(here);
  for (const name of ['collector-blue', 'collector-green', 'streamer']) {
    const labels = { instance: `${name}-1`, zone: 'a', colour: 'blue' };
    writeFileSync(join(here, `${name}.json`), JSON.stringify([{ targets: ['10.0.0.1:8080'], labels }]));
  }
  const config = join(prefix, 'etc/prometheus/prometheus.yml');
  writeFileSync(config, readFileSync(config, 'utf8').replaceAll(directory, here));
  const said = await runTool(['promtool', 'check', 'config', config]);
  if (/WARNING/.test(said)) throw new CheckError(said);
  const unit = readFileSync(join(prefix, 'etc/systemd/system/prometheus.service'), 'utf8');
  if (!unit.includes(`--volume=${directory}:${directory}:ro`))
    throw new CheckError(`${directory} is not in the container`);
  const sources = readFileSync(join(prefix, 'etc/grafana/provisioning/datasources/millrace.yaml'), 'utf8');
  for (const setting of ['port: 8443', 'secure: true', 'username: analyst', 'tlsAuthWithCACert: true'])
    if (!sources.includes(setting)) throw new CheckError(`no ${setting} in the data source:\n${sources}`);
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
      {
        file: role('millrace', 'templates/millrace.j2'),
        find: '{{ millrace_password_file }}',
        replace: '{{ millrace_home }}',
        says: /MILLRACE_CLICKHOUSE_PASSWORD_FILE: EISDIR/,
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
        file: role('haproxy', 'templates/millrace.conf.j2'),
        find: 'NoNewPrivileges=true\n',
        replace: '',
        says: /exposure level/,
      },
      {
        file: role('docker', 'templates/container.service.j2'),
        find: 'CapabilityBoundingSet=\n',
        replace: '',
        says: /exposure level/,
      },
      {
        file: role('kafka', 'templates/server.properties.j2'),
        find: 'controller.listener.names=CONTROLLER',
        replace: 'controller.listener.names=CONTROLER',
        says: /CONTROLER/,
      },
      {
        file: role('haproxy', 'templates/haproxy.cfg.j2'),
        find: 'user haproxy',
        replace: 'user haprxy',
        says: /haprxy/,
      },
    ],
  },
  {
    name: 'ansible monitoring on this machine',
    heavy: true,
    tools: ['ansible-lint', 'systemd-analyze', 'promtool', 'openssl'],
    run: runMonitoring,
    mistakes: [
      {
        // Then the first unit is run when the others are not there yet.
        file: role('prometheus', 'tasks/main.yml'),
        find: 'tasks_from: unit',
        replace: 'tasks_from: container',
        says: /Could not find the requested service/,
      },
      {
        file: role('prometheus', 'tasks/main.yml'),
        find: 'notify: Restart blackbox-exporter',
        replace: 'notify: Restart prometheus',
        says: /a change of blackbox.yml led to/,
      },
      {
        // Then the file of the repository and yours take turns.
        file: role('prometheus', 'tasks/main.yml'),
        find: 'from: "{{ prometheus_files }}/alertmanager/millrace.tmpl", to: millrace.tmpl',
        replace: 'from: "{{ prometheus_files }}/alertmanager/", to: ""',
        says: /changed=\d+, after it had run/,
      },
      {
        file: 'ansible/inventory/cloud/group_vars/all/main.yml',
        find: 'prometheus-targets/streamer.json',
        replace: 'prometheus-target/streamer.json',
        says: /does not exist/,
      },
    ],
  },
];
