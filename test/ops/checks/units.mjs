/**
 * The units of systemd that are in the repository as files: by systemd itself, how far each is shut in, and that of one
 * machine behind the walls that it asks for. Those that Ansible writes are in ansible.mjs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckError, runTool } from '../check.mjs';
import { freePort, untilOk } from '../network.mjs';
import { toolEnvironment } from '../tools.mjs';
import { requireHardening, verifyUnits } from '../unit.mjs';
import { behindWallsOf } from '../walls.mjs';

const oneMachine = 'docs/millrace.service';
const discovery = 'terraform/modules/monitoring/files/discover-targets.service';
const container = 'terraform/modules/container/files/unit.tftpl';
/** Most that each may be exposed, in tenths, by `systemd-analyze security`; a unit without walls has 96. */
const exposures = { 'millrace.service': 18, 'discover-targets.service': 13, 'container.service': 16 };

/** @param {import('../check.mjs').Site} site */
async function checkUnits({ root, scratch }) {
  const directory = join(scratch, 'files');
  mkdirSync(directory);
  for (const file of [oneMachine, discovery]) copyFileSync(join(root, file), join(directory, basename(file)));
  // As Terraform fills it in.
  const text = readFileSync(join(root, container), 'utf8').replaceAll(/\$\{.*?\}/g, (name) =>
    name.includes('seconds') ? '30' : 'container',
  );
  writeFileSync(join(directory, 'container.service'), text);
  const units = await verifyUnits(directory, scratch);
  for (const unit of units) await requireHardening(unit, exposures[basename(unit)]);
  const { length } = readFileSync(join(root, oneMachine), 'utf8').match(/^StateDirectoryMode=0700$/gm) ?? [];
  if (length !== 1) throw new CheckError(`${oneMachine}: others can look into the data directory`);
  return `${units.length} units, none more exposed than ${Math.max(...Object.values(exposures)) / 10}`;
}

/** An event goes in by the collector and comes out of the embedded ClickHouse, behind the unit's seccomp. */
async function tryWalls({ root, scratch }) {
  const unit = readFileSync(join(root, oneMachine), 'utf8');
  const [, start] = /^ExecStart=\S+ (.*) --data-dir \S+$/m.exec(unit) ?? [];
  if (start === undefined) throw new CheckError(`${oneMachine} has another ExecStart= than this check knows`);
  const [collector, streamer, clickhouse] = [await freePort(), await freePort(), await freePort()];
  const here = (port) => `127.0.0.1:${port}`;
  const options = [
    ...['--data-dir', join(scratch, 'data'), '--listen', here(collector), '--stream-listen', here(streamer)],
    ...['--clickhouse-url', `http://${here(clickhouse)}`],
  ];
  const [program, ...args] = await behindWallsOf(join(root, oneMachine));
  await refuseNetlink([program, ...args]);
  const command = [...args, process.execPath, ...start.split(' '), ...options];
  const child = spawn(program, command, { cwd: root, env: toolEnvironment });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data));
  const ended = once(child, 'exit');
  try {
    await untilOk(`http://${here(collector)}/readyz`, { child, seconds: 120 });
    const headers = { 'content-type': 'application/json' };
    const post = { method: 'POST', headers, body: '{"event":"behind-walls"}' };
    const { status } = await fetch(`http://${here(collector)}/v1/events`, post);
    if (status !== 200) throw new CheckError(`an event was answered with ${status}`);
    child.kill('SIGTERM');
    const [code, signal] = await ended;
    // It has inserted what it took.
    if (code !== 0) throw new CheckError(`it ended with ${code ?? signal}`);
  } catch (error) {
    throw new CheckError(`${error.message}:\n${said}`, { cause: error });
  } finally {
    child.kill('SIGKILL');
  }
  return 'start, a post and a stop behind its filter of system calls and of addresses';
}

/** That the walls are there at all. */
async function refuseNetlink(walls) {
  const program = 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)';
  const said = await runTool([...walls, 'python3', '-c', program]).catch((error) => error.message);
  if (!/not supported/.test(said))
    throw new CheckError(`behind the walls a socket of AF_NETLINK is made: ${said}`);
}

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'systemd units',
    tools: ['systemd-analyze'],
    run: checkUnits,
    mistakes: [
      {
        file: oneMachine,
        find: 'ProtectSystem=strict',
        replace: 'ProtectSytem=strict',
        says: /Unknown key.*ProtectSytem/,
      },
      {
        file: oneMachine,
        find: 'NoNewPrivileges=yes\nCapability',
        replace: 'Capability',
        says: /exposure level/,
      },
      { file: oneMachine, find: 'StateDirectoryMode=0700\n', replace: '', says: /others can look/ },
      { file: discovery, find: 'SystemCallFilter=@system-service\n', replace: '', says: /exposure level/ },
      { file: container, find: 'CapabilityBoundingSet=\n', replace: '', says: /exposure level/ },
    ],
  },
  {
    name: 'unit of one machine behind its walls',
    tools: ['systemd-analyze', 'pyseccomp'],
    run: tryWalls,
    mistakes: [
      {
        file: oneMachine,
        find: 'SystemCallFilter=~@privileged @resources',
        replace: 'SystemCallFilter=~@privileged @resources @network-io',
        says: /ended|readyz|not supported/,
      },
      {
        file: oneMachine,
        find: 'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX',
        replace: 'RestrictAddressFamilies=AF_UNIX AF_NETLINK',
        says: /AF_NETLINK is made/,
      },
    ],
  },
];
