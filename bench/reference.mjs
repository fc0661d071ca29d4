/**
 * A server of fixed shape to measure the collector against: the HTTP server of Node.js, JSON.parse and a CRC-32 of each
 * event, and an answer, without schema and buffer. Whatever makes the machine slower for a while makes both slower.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';

const self = fileURLToPath(import.meta.url);

/** As a contender; it stores nothing. */
export const reference = {
  program: 'reference',
  buffer: 'none',
  async start() {
    const child = fork(self, ['serve']);
    const ended = once(child, 'exit');
    const [port] = await once(child, 'message');
    const stop = async () => {
      child.kill();
      await ended;
    };
    return { url: `http://127.0.0.1:${port}`, pid: child.pid, stop };
  },
};

function serve() {
  const counts = { accepted: 0, inFlight: 0 };
  const server = createServer((request, response) => {
    response.setHeader('Content-Type', 'application/json');
    if (request.method === 'GET') {
      response.end(`{"in_flight":{"requests":${counts.inFlight}},"events":{"accepted":${counts.accepted}}}`);
      return;
    }
    counts.inFlight++;
    response.once('close', () => counts.inFlight--);
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const sum = readEvents(Buffer.concat(chunks), counts);
      response.end(`{"status":"ok","sum":${sum}}`);
    });
  });
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
  process.once('disconnect', () => process.exit());
}

/** Counts the events, one a line. @returns a checksum of them all */
function readEvents(body, counts) {
  let sum = 0;
  for (let start = 0; start < body.length; ) {
    const found = body.indexOf(10, start);
    const end = found === -1 ? body.length : found;
    const bytes = body.subarray(start, end);
    sum = crc32(bytes, (sum + JSON.parse(bytes.toString()).os.length) >>> 0);
    counts.accepted++;
    start = end + 1;
  }
  return sum;
}

if (process.argv[1] === self && process.argv[2] === 'serve') serve();
