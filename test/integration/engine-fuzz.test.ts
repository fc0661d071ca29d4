/**
 * Random changes of known attacks, sent to the embedded ClickHouse without a sandbox. What tells is not the answer
 * alone: strace watches the files that are opened and the sockets that are made. Long form: `npm run test:fuzz`, for
 * TEST_FUZZ minutes.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { aimed, attacks, harmless } from '../support/attacks.ts';
import { createCanary } from '../support/canary.ts';
import { startTestEngine } from '../support/engine.ts';
import { runSeed } from '../support/faults/form.ts';
import { createRandom } from '../support/faults/random.ts';
import { canWatch, createFileWatch, type FileWatch } from '../support/file-watch.ts';
import { type MutatedRequest, mutate } from '../support/mutate.ts';

const minutes = Number(process.env.TEST_FUZZ ?? 0);
/** Attacks of the short form. */
const shortRounds = 600;
const password = 'a password of the tests';
const logins = [
  { 'x-clickhouse-user': 'default', 'x-clickhouse-key': password },
  { 'x-clickhouse-user': 'reader', 'x-clickhouse-key': `${password}-reader` },
];

it('no mutated attack reaches a file, a socket or a program', {
  timeout: (minutes + 10) * 60_000,
}, async () => {
  const random = createRandom(runSeed);
  const canary = await createCanary();
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-fuzz-')));
  const dataDir = join(directory, 'data');
  // The program's own modules, too: a thread for a stream is started when it is needed.
  const program = ['dist/engine/', 'dist/errors.js', 'node_modules/', 'package.json'].map((name) =>
    join(process.cwd(), name),
  );
  const allowed = [dataDir, '/proc/', '/sys/', '/dev/null', '/dev/urandom', ...program];
  const watch = canWatch() ? createFileWatch(join(directory, 'strace.log'), allowed) : undefined;
  if (watch === undefined) console.log('strace is not here: files are watched by their content alone');
  const runner = watch === undefined ? {} : { runner: watch.runner };
  const engine = await startTestEngine({ dataDir, password, ...runner });
  onTestFinished(async () => {
    await engine.stop();
    rmSync(directory, { recursive: true, force: true });
    canary.close();
  });
  const target = { ...canary, url: canary.url };

  async function send({ sql, settings, params }: MutatedRequest) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(settings))
      query.set(aimed(name, target), aimed(value, target));
    for (const [name, value] of Object.entries(params)) query.set(`param_${name}`, value);
    const body = Buffer.from(aimed(sql.toString('latin1'), target), 'latin1');
    const isGet = random.chance(0.2);
    const split = random.chance(0.15) ? random.integer(0, body.length) : 0;
    if (isGet || split > 0) query.set('query', body.subarray(0, isGet ? undefined : split).toString('utf8'));
    const init = isGet ? { method: 'GET' } : { method: 'POST', body: body.subarray(split) };
    const signal = AbortSignal.timeout(30_000);
    const response = await fetch(`${engine.url}/?${query}`, {
      ...init,
      headers: random.pick(logins),
      signal,
    });
    return { status: response.status, text: Buffer.from(await response.arrayBuffer()).toString('latin1') };
  }

  await send({ sql: Buffer.from('SELECT 1'), settings: {}, params: {} });
  await settled(watch);
  const counts = { sent: 0, answered: 0, refused: 0, failed: 0 };
  const end = Date.now() + minutes * 60_000;
  for (let round = 0; minutes > 0 ? Date.now() < end : round < shortRounds; round += 1) {
    const attack = random.pick(random.chance(0.4) ? harmless : attacks);
    const requests = mutate(attack, random.pick(attacks), random);
    const sent = requests.map(({ sql, settings, params }) => ({ sql: sql.toString(), settings, params }));
    const what = JSON.stringify({ seed: runSeed, round, attack: attack.name, sent });
    for (const request of requests) {
      counts.sent += 1;
      const answer = await send(request).catch((error) => ({ status: -1, text: String(error) }));
      if (answer.status === -1 && engine.process.exitCode === null && engine.process.signalCode === null)
        counts.failed += 1;
      expect([answer.status === -1 && (engine.process.exitCode ?? engine.process.signalCode), what]).toEqual([
        expect.toSatisfy((x) => x === false || x === null),
        what,
      ]);
      expect([answer.text.includes(canary.secret), what]).toEqual([false, what]);
      if (answer.status === 200) counts.answered += 1;
      else counts.refused += 1;
    }
    expect([canary.harm(), what]).toEqual([[], what]);
    expect([watch?.strays() ?? [], what]).toEqual([[], what]);
    if (round % 2_000 === 1_999) {
      console.log(`fuzz: seed ${runSeed}, ${JSON.stringify(counts)}`);
      await send({ sql: Buffer.from('DROP TABLE IF EXISTS canary_fuzz_t'), settings: {}, params: {} });
      await send({ sql: Buffer.from('DROP VIEW IF EXISTS canary_fuzz'), settings: {}, params: {} });
    }
  }
  console.log(
    `fuzz: seed ${runSeed}, ${JSON.stringify(counts)}${watch === undefined ? ', not watched' : ''}`,
  );
});

/** Waits until what a start opens late has been opened. */
async function settled(watch: FileWatch | undefined): Promise<void> {
  for (let quiet = 0; watch !== undefined && quiet < 5; ) {
    quiet = watch.strays().length === 0 ? quiet + 1 : 0;
    await sleep(200);
  }
}
