/** Clients that go away or stand still in the middle of a request. */
import { connect, type Socket } from 'node:net';
import { describe, expect } from 'vitest';
import { byForm } from '../support/faults/form.ts';
import { plainEvent } from '../support/faults/generator.ts';
import { pause, type Rig } from '../support/faults/rig.ts';
import { scenario } from '../support/faults/scenario.ts';
import { until } from '../support/program.ts';

/** Posts a batch over a socket of its own; `part` of it only, if less than 1. */
async function sendRaw(rig: Rig, url: string, part: number): Promise<Socket> {
  const serials = rig.ledger.takeSerials(rig.random.integer(1, 30));
  const body = Buffer.from(`[${serials.map((n) => plainEvent(n, rig.random)).join(',')}]`);
  const head = `POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  // Without all of its body a request must not store anything; with it, nobody was told.
  if (part < 1) rig.ledger.refuse(serials, 'incomplete');
  else rig.ledger.doubt(serials, 'left');
  await new Promise((resolve) =>
    socket.write(head + body.subarray(0, Math.floor(body.length * part)), resolve),
  );
  return socket;
}

describe('clients', () => {
  scenario('clients leave before the answer or stall in mid-body', { partitions: 2 }, async (rig) => {
    const { collector } = await rig.startAll();
    const load = rig.load([collector.url], { rate: 500 });
    const stalled: Socket[] = [];
    for (let round = 0; round < byForm({ full: 600, short: 100 }); round++) {
      const part = rig.random.chance(0.5) ? 1 : rig.random.next() * 0.99;
      const socket = await sendRaw(rig, collector.url, part);
      if (part < 1 && rig.random.chance(0.5)) stalled.push(socket);
      else if (rig.random.chance(0.5)) socket.destroy();
      else setTimeout(() => socket.destroy(), rig.random.integer(0, 5));
      await pause(rig.random, 0, 20);
    }
    await load.stop();
    for (const socket of rig.random.chance(0.5) ? stalled : []) socket.destroy();
    // Whoever stands still is cut off after a while, and gives back what was held for the request.
    await until('nothing in flight', async () => {
      const text = await (await fetch(`${collector.url}/metrics`)).text();
      return /^millrace_in_flight_bytes 0$/m.test(text) && /^millrace_http_requests_in_flight 0$/m.test(text);
    });
    for (const socket of stalled) socket.destroy();
    await rig.audit();
    expect(rig.members.flatMap(({ surprises }) => surprises)).toEqual([]);
  });
});
