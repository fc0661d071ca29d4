/** What a program tries that wants out of its sandbox, for tests. Prints JSON: `{own, through, held}`. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

const aims = JSON.parse(process.argv[2]);
const { own, outside, canary, readOnly, dataDir, secret } = aims;
const run = (file, ...args) =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** Each throws, or gives whether it got what it wanted; undefined is yes. */
const attempts = {
  'read a file': () => fs.readFileSync(canary, 'utf8').includes(secret),
  'list /home': () => void fs.readdirSync('/home'),
  'list /root': () => void fs.readdirSync('/root'),
  'list the data directory': () => fs.readdirSync(dataDir).includes('clickhouse-password'),
  'read the password': () => fs.readFileSync(join(dataDir, 'clickhouse-password'), 'utf8').includes(secret),
  'read the log': () => void fs.readdirSync(join(dataDir, 'log')),
  'make a file': () => fs.writeFileSync(join(outside, 'made'), 'x'),
  'write what it may read': () => fs.writeFileSync(join(readOnly, 'made'), 'x'),
  'write what exists': () => fs.appendFileSync(canary, 'x'),
  'truncate a file': () => fs.truncateSync(join(outside, 'truncated')),
  'remove a file': () => fs.rmSync(join(outside, 'removed')),
  'change a mode': () => fs.chmodSync(join(outside, 'truncated'), 0o777),
  'link a file into its own directory': () => {
    fs.linkSync(canary, join(own, 'link'));
    return fs.readFileSync(join(own, 'link'), 'utf8').includes(secret);
  },
  'follow a link of its own': () => {
    fs.symlinkSync(canary, join(own, 'symlink'));
    return fs.readFileSync(join(own, 'symlink'), 'utf8').includes(secret);
  },
  'move a file in': () => fs.renameSync(join(outside, 'moved'), join(own, 'moved')),
  'make a device': () => void run('mknod', join(own, 'device'), 'c', '1', '3'),
  'mount something': () => {
    run('mount', '-t', 'tmpfs', 'none', own);
    run('umount', own);
  },
  'write a setting of the kernel': () =>
    fs.writeFileSync('/proc/sys/kernel/core_pattern', fs.readFileSync('/proc/sys/kernel/core_pattern')),
  'run a program': () => void run(join(outside, 'program')),
  'become root': () => Number(run(join(readOnly, 'setuid-id'), '-u')) === 0 && process.geteuid() !== 0,
  "use root's rights": () => !/^CapEff:\s*0+$/m.test(fs.readFileSync('/proc/self/status', 'utf8')),
  "read a process's variables": () =>
    fs.readdirSync('/proc').some((name) => {
      try {
        return fs.readFileSync(`/proc/${name}/environ`, 'latin1').includes(secret);
      } catch {
        return false;
      }
    }),
  "read a process's files": () => fs.readdirSync(`/proc/${aims.parent}/root/root`) !== undefined,
  "open a process's memory": () => fs.closeSync(fs.openSync(`/proc/${aims.parent}/mem`, 'r')),
  'see a process': () => fs.readFileSync(`/proc/${aims.victim}/cmdline`, 'latin1').startsWith('sleep'),
  'signal a process': () => process.kill(aims.victim, 'SIGTERM'),
  'connect by TCP': () => reach({ port: aims.port, host: '127.0.0.1' }),
  'connect to a socket file': () => reach({ path: aims.socket }),
  'connect to an abstract socket': () => reach({ path: aims.abstractSocket }),
};

function reach(where) {
  return new Promise((resolve, reject) => {
    connect(where).once('connect', resolve).once('error', reject);
  }).then(() => undefined);
}

function useOwn() {
  fs.mkdirSync(join(own, 'a/b'), { recursive: true });
  fs.writeFileSync(join(own, 'a/file'), 'text');
  fs.truncateSync(join(own, 'a/file'), 3);
  fs.renameSync(join(own, 'a/file'), join(own, 'a/b/file'));
  fs.linkSync(join(own, 'a/b/file'), join(own, 'second'));
  fs.symlinkSync('second', join(own, 'third'));
  const text = fs.readFileSync(join(own, 'third'), 'utf8');
  fs.readdirSync(readOnly);
  fs.rmSync(join(own, 'a'), { recursive: true });
  return text;
}

const result = { own: useOwn(), through: [], held: {} };
for (const [name, attempt] of Object.entries(attempts)) {
  try {
    if ((await attempt()) === false) result.held[name] = 'nothing';
    else result.through.push(name);
  } catch (error) {
    result.held[name] = error.code ?? error.message;
  }
}
process.stdout.write(JSON.stringify(result));
