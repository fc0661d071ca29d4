/** What pages of other sites can do to a Millrace on the machine of whoever visits them, by a real browser: docs/security.md. */
import { randomUUID } from 'node:crypto';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { findChromium, servePage, serveReboundPage, startBrowser } from '../support/browser.ts';
import { type Canary, createCanary } from '../support/canary.ts';
import {
  createSite,
  loginOf,
  type Program,
  post,
  query,
  type Site,
  startProgram,
  temporaryDirectory,
  until,
} from '../support/program.ts';

const chromium = findChromium();
const isRequired = process.env.MILLRACE_REQUIRE_BROWSER === '1';
if (chromium === undefined) console.warn('Chromium is not installed: nothing is tested in a browser');

test.runIf(isRequired)('Chromium is installed, as MILLRACE_REQUIRE_BROWSER=1 demands', () => {
  expect(chromium).toBeDefined();
});

let directory: ReturnType<typeof temporaryDirectory>;
let site: Site;
let program: Program;
let pages: Awaited<ReturnType<typeof servePage>>;
let canary: Canary;
let browser: Browser;
let context: BrowserContext;
/** How requests ended, by their query id: a status, or what the browser says. */
const endings = new Map<string, number | string>();

const friend = () => `http://friend.example:${pages.port}`;
const evil = () => `http://evil.example:${pages.port}`;

async function openPage(origin: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${origin}/page`);
  return page;
}

/** Runs a function of the page with these arguments. */
function inPage<T = unknown>(page: Page, call: string, ...args: unknown[]): Promise<T> {
  return page.evaluate<T>(`(${call})(...${JSON.stringify(args)})`);
}

const tagOf = (url: string) => /[?&]query_id=([\w-]+)/.exec(url)?.[1] ?? '';

describe.skipIf(chromium === undefined)('a page of another site', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    directory = temporaryDirectory();
    site = await createSite(directory.path);
    pages = await servePage();
    canary = await createCanary();
    program = await startProgram(['start', ...site.flags, '--clickhouse-origins', friend()]);
    await post(site.collector, [{ event: 'secret-event' }, { event: 'poisoned', x: 1 }]);
    await until('rows', async () => (await query(site.clickhouse, 'SELECT 1 FROM events')).length === 2);
    browser = await startBrowser(chromium ?? '');
  });

  afterAll(async () => {
    await browser?.close();
    await program?.kill();
    pages?.close();
    canary?.close();
    directory?.remove();
  });

  beforeEach(async () => {
    context = await browser.newContext();
    context.on('response', (response) => void endings.set(tagOf(response.url()), response.status()));
    context.on('requestfailed', (request) => {
      const tag = tagOf(request.url());
      if (!endings.has(tag)) endings.set(tag, request.failure()?.errorText ?? 'failed');
    });
  });

  afterEach(() => context.close());

  const address = (parameters: Record<string, string>) =>
    `${site.clickhouse}/?${new URLSearchParams(parameters)}`;

  /** The owner's password as a part of an address: what a page could have got from a screenshot. */
  const stolen = () => {
    const { 'x-clickhouse-user': user = 'default', 'x-clickhouse-key': password = '' } = loginOf(
      site.clickhouse,
    );
    return { user, password };
  };

  /** Each leaves a trace that has the number in it. */
  const statements = (number: number) => [
    `CREATE DICTIONARY default.canary_d${number} (a UInt64, b String) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'touch ${canary.out}-command-${number}' FORMAT 'TSV')) LAYOUT(HASHED()) LIFETIME(0)`,
    `SELECT dictGet('default.canary_d${number}', 'b', 1)`,
    `CREATE TABLE default.canary_t${number} (a UInt8) ENGINE = Memory`,
    `SELECT 'x' AS $b$ INTO OUTFILE '${canary.out}-file-${number}' APPEND FORMAT TSVRaw`,
    `SELECT * FROM url('${canary.url}/${number}', 'LineAsString')`,
  ];

  /** What a page has done: files, connections, and tables. */
  async function harm(): Promise<string[]> {
    const sql = "SELECT concat('made ', name) AS what FROM system.tables WHERE name LIKE 'canary%'";
    const made = await query<{ what: string }>(site.clickhouse, sql);
    return [...canary.harm(), ...made.map(({ what }) => what)];
  }

  const origins = { 'of another name': evil, 'of another port': () => `http://127.0.0.1:${pages.port}` };
  const ways = [
    ...['image', 'script', 'module', 'style sheet', 'frame', 'video', 'window', 'form by GET'],
    ...['fetch without CORS', 'fetch with CORS', 'fetch with a password'],
    ...['form by POST', 'fetch by POST without CORS', 'fetch by POST with CORS', 'beacon'],
  ];
  let count = 0;

  describe.each(Object.entries(origins))('%s', (_, origin) => {
    test.each(ways)('cannot change, write, call or run anything by: %s', async (way) => {
      const page = await openPage(origin());
      const tries: { tag: string; known: unknown }[] = [];
      const isPost = way.includes('POST') || way === 'beacon';
      for (const login of [{}, stolen()]) {
        for (const readonly of isPost ? ['0'] : ['00', '+0']) {
          count += 1;
          for (const sql of statements(count)) {
            const tag = randomUUID();
            const url = address({ ...login, ...(isPost ? {} : { readonly, query: sql }), query_id: tag });
            const known = await inPage(page, `ways[${JSON.stringify(way)}]`, url, `${sql} -- `);
            tries.push({ tag, known });
            await until(`an end of ${url}`, async () => endings.has(tag));
            for (const other of context.pages()) if (other !== page) await other.close();
          }
        }
      }
      expect(await harm()).toEqual([]);
      // Refused by the door, password or not; a browser may hide from the page what it was.
      for (const { tag, known } of tries) {
        expect([403, expect.stringMatching(/ERR_(BLOCKED_BY|FAILED|ABORTED)/)]).toContainEqual(
          endings.get(tag),
        );
        if (typeof known === 'object' && known !== null) {
          expect(known).toMatchObject({ type: 'opaque', status: 0, text: '' });
        }
      }
    });

    test('cannot run a result as a script', async () => {
      const page = await openPage(origin());
      await page.evaluate('window.stolen = []; window.steal = (what) => stolen.push(what)');
      const sql =
        "SELECT concat('steal(', toJSONString(groupArray(event)), ')') FROM default.events FORMAT RawBLOB";
      const { user, password } = stolen();
      const withUser = new URL(address({ query: sql }));
      Object.assign(withUser, { username: user, password });
      const urls = [
        address({ query: sql }),
        address({ query: sql, user, password }),
        address({ query: sql, user, password, default_format: 'RawBLOB' }),
        withUser.href,
      ];
      for (const url of urls) {
        for (const way of ['script', 'module']) await inPage(page, `ways.${way}`, url);
        await inPage(page, `(url) => import(url).catch(() => {})`, url);
        await inPage(
          page,
          `(url) => new Promise((done) => { try { new Worker(url).onerror = done } catch { done() } })`,
          url,
        );
      }
      expect(await page.evaluate('window.stolen')).toEqual([]);
    });

    test('can read no status page, metric or receipt', async () => {
      const page = await openPage(origin());
      for (const base of [site.collector, site.streamer]) {
        for (const path of ['/status', '/metrics', '/livez', '/v1/receipts/0/0']) {
          const url = `${base}${path}`;
          expect([url, await inPage(page, 'read', url)]).toEqual([url, expect.stringContaining('TypeError')]);
          const opaque = await inPage(page, 'read', url, { mode: 'no-cors' });
          expect([
            expect.stringContaining('TypeError'),
            { type: 'opaque', status: 0, text: '' },
          ]).toContainEqual(opaque);
          expect(await inPage(page, 'ways.script', url)).toBe('failed');
        }
      }
    });

    test('can send events, as the page of a shop does', async () => {
      const page = await openPage(origin());
      const url = `${site.collector}/v1/events`;
      const event = `sent-${randomUUID()}`;
      const body = JSON.stringify({ event });
      expect(await inPage(page, '(url, body) => navigator.sendBeacon(url, body)', url, body)).toBe(true);
      const headers = { 'content-type': 'application/json' };
      const sent = await inPage(page, 'read', url, { method: 'POST', headers, body });
      expect(sent).toMatchObject({ status: 200, text: expect.stringContaining('"offset"') });
      expect(await inPage(page, 'read', url, { method: 'POST', mode: 'no-cors', body })).toMatchObject({
        type: 'opaque',
      });
      const sql = `SELECT count() AS rows FROM events WHERE event = '${event}'`;
      await until('three rows', async () => {
        const [counted] = await query<{ rows: number }>(site.clickhouse, sql);
        return counted?.rows === 3;
      });
    });
  });

  /** A page whose name leads to one of our servers since it was loaded: DNS rebinding. */
  async function openRebound(target: string): Promise<Page> {
    const served = await serveReboundPage(target);
    context.once('close', () => served.close());
    return await openPage(`http://evil.example:${served.port}`);
  }

  test('whose name is rebound to the engine reads and changes nothing, with the password too', async () => {
    const page = await openRebound(site.clickhouse);
    const { user, password } = stolen();
    count += 1;
    for (const sql of [
      ...statements(count),
      'SELECT event FROM events',
      `SELECT file\u00a0('${canary.file}')`,
    ]) {
      for (const headers of [{}, { 'x-clickhouse-user': user, 'x-clickhouse-key': password }]) {
        const path = `/?${new URLSearchParams({ query: sql })}`;
        for (const got of [
          await inPage(page, 'read', path, { headers }),
          await inPage(page, 'read', '/', { method: 'POST', body: sql, headers }),
        ]) {
          expect(got).toMatchObject({ status: 403, text: expect.stringContaining('--clickhouse-hosts') });
        }
      }
    }
    expect(await inPage(page, 'read', '/ping')).toMatchObject({ status: 403 });
    expect(await harm()).toEqual([]);
  });

  test('whose name is rebound to the collector or the streamer reads no status page, metric or receipt', async () => {
    for (const [base, paths] of [
      [site.collector, ['/status', '/metrics', '/v1/receipts/0/0']],
      [site.streamer, ['/status', '/metrics']],
    ] as const) {
      const page = await openRebound(base);
      for (const path of paths) {
        expect([path, await inPage(page, 'read', path)]).toEqual([
          path,
          expect.objectContaining({ status: 403, text: expect.stringContaining('HOST_NOT_ALLOWED') }),
        ]);
      }
      expect(await inPage(page, 'read', '/livez')).toMatchObject({ status: 200, text: '{}' });
    }
  });

  test('that --clickhouse-origins names may ask with the password, and reads the answers', async () => {
    const page = await openPage(friend());
    const { user, password } = stolen();
    const headers = { 'x-clickhouse-user': user, 'x-clickhouse-key': password };
    const sql = "SELECT event FROM events WHERE event = 'secret-event'";
    const asked = await inPage(page, 'read', `${site.clickhouse}/`, { method: 'POST', body: sql, headers });
    expect(asked).toEqual({ type: 'cors', status: 200, text: 'secret-event\n' });
    const basic = { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
    const got = await inPage(page, 'read', address({ query: sql }), { headers: basic });
    expect(got).toEqual({ type: 'cors', status: 200, text: 'secret-event\n' });
    const without = await inPage(page, 'read', address({ query: sql }));
    expect(without).toMatchObject({ status: 401, text: expect.stringContaining('REQUIRED_PASSWORD') });
    // Not as a script, though: that is no way to ask.
    await page.evaluate('window.stolen = []; window.steal = (what) => stolen.push(what)');
    const script = address({ query: "SELECT 'steal(1)' FORMAT RawBLOB", user, password });
    await inPage(page, 'ways.script', script);
    await inPage(page, 'ways.module', script);
    expect(await page.evaluate('window.stolen')).toEqual([]);
  });

  test('is one thing; a person who opens /ping, or a status page, sees it', async () => {
    const page = await context.newPage();
    for (const [url, text] of [
      [`${site.clickhouse}/ping`, 'Ok.'],
      [`${site.clickhouse.replace('127.0.0.1', 'localhost')}/ping`, 'Ok.'],
      [`${site.collector}/status`, '"status"'],
      [`${site.streamer}/metrics`, 'millrace_'],
    ] as const) {
      const response = await page.goto(url);
      expect([url, response?.status()]).toEqual([url, 200]);
      expect(await page.textContent('body')).toContain(text);
    }
  });
});
