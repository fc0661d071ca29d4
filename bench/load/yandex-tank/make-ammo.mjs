/** Prints ammunition for phantom, the generator of yandex-tank. `--help` says how. */
import { readFileSync } from 'node:fs';
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const help = `Prints posts of events as ammunition for phantom, the load generator of yandex-tank.

Usage: node make-ammo.mjs [options] > ammo.txt

  --host <host>     Header Host. Default: 127.0.0.1:8080.
  --path <path>     Where to post. Default: /v1/events.
  --file <file>     Events to post, one a line (NDJSON). Default: the classic event with 24 pairs of os and browser.
  --events <n>      Events in a post: 1 is posted as JSON, more as NDJSON. Default: 1.
  --close           A new connection for each post. Default: they are kept.
  --help

The format: for each post a line with its length in bytes and a tag, then the HTTP request as it is sent, then an
end of line. The tag is \`single\` or \`batch\`; yandex-tank reports each tag apart, and begins again at the end of the file.
`;

const systems = ['linux', 'windows', 'macos', 'android', 'ios', 'chromeos'];
const browsers = ['chrome', 'firefox', 'safari', 'edge'];

/** The classic event, for each pair of system and browser. */
export function makeEvents() {
  return systems.flatMap((os) => browsers.map((browser) => JSON.stringify({ event: 'view', os, browser })));
}

/** Posts of `perPost` events that hold every event; the last begins again with the first ones until it is full. */
export function makeRequests(events, { perPost, ...head }) {
  const posts = Math.ceil(events.length / perPost);
  const eventAt = (i) => events[i % events.length];
  return Array.from({ length: posts }, (_, post) => {
    const batch = Array.from({ length: perPost }, (_, i) => eventAt(post * perPost + i));
    return makeRequest(batch, head);
  });
}

function makeRequest(events, { host, path, isClosed }) {
  const isSingle = events.length === 1;
  const body = isSingle ? events[0] : `${events.join('\n')}\n`;
  const lines = [
    `POST ${path} HTTP/1.1`,
    `Host: ${host}`,
    'User-Agent: yandex-tank',
    `Content-Type: ${isSingle ? 'application/json' : 'application/x-ndjson'}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Connection: ${isClosed ? 'close' : 'keep-alive'}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** One piece of ammunition. */
export function formatAmmo(request, tag) {
  return `${Buffer.byteLength(request)} ${tag}\n${request}\n`;
}

function readEvents(file) {
  if (file === undefined) return makeEvents();
  const events = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '');
  if (events.length === 0) throw new Error(`${file} holds no event`);
  return events;
}

function main() {
  const { values } = parseArgs({
    options: {
      host: { type: 'string', default: '127.0.0.1:8080' },
      path: { type: 'string', default: '/v1/events' },
      file: { type: 'string' },
      events: { type: 'string', default: '1' },
      close: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return help;
  const perPost = Number(values.events);
  if (!Number.isInteger(perPost) || perPost < 1) throw new Error('--events must be a whole number from 1 on');
  const { host, path, close: isClosed } = values;
  const requests = makeRequests(readEvents(values.file), { perPost, host, path, isClosed });
  return requests.map((request) => formatAmmo(request, perPost === 1 ? 'single' : 'batch')).join('');
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  try {
    process.stdout.write(main());
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 2;
  }
}
