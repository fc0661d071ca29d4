import { describe, expect, it } from 'vitest';
import { createUserAgentNames, type LogEvent, parseLogLine } from '../../../src/replay/access-log.ts';
import { fc } from '../../support/fast-check.ts';

const nameUserAgent = createUserAgentNames();
const chrome =
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36';

function parse(line: string): LogEvent {
  const parsed = parseLogLine(line, nameUserAgent);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.event;
}

function reasonOf(line: string): string {
  const parsed = parseLogLine(line, nameUserAgent);
  return parsed.ok ? 'none' : parsed.reason;
}

describe('a line of an access log', () => {
  it('becomes an event', () => {
    const line = `83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a/b.png?x=1&y=%20 HTTP/1.1" 200 203023 "http://example.com/a" "${chrome}"`;
    expect(parse(line)).toEqual({
      event: 'view',
      time: '2015-05-17T10:05:03.000Z',
      ip: '83.149.9.216',
      method: 'GET',
      path: '/a/b.png?x=1&y=%20',
      status: 200,
      bytes: 203023,
      referrer: 'http://example.com/a',
      user_agent: chrome,
      browser: 'chrome',
      os: 'mac os',
    });
  });

  it('leaves out what the log leaves out', () => {
    expect(parse('::1 - - [17/May/2015:10:05:03 +0000] "HEAD / HTTP/1.0" 304 - "-" "-"')).toEqual({
      event: 'view',
      time: '2015-05-17T10:05:03.000Z',
      ip: '::1',
      method: 'HEAD',
      path: '/',
      status: 304,
    });
    const bare = parse('1.2.3.4 - - [17/May/2015:10:05:03 +0000] "-" - - "" ""');
    expect(Object.keys(bare)).toEqual(['event', 'time', 'ip']);
  });

  it('may be in the common format, have more fields, a user, or a virtual host', () => {
    const common = '1.2.3.4 - john doe [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 0';
    expect(parse(common)).toMatchObject({ ip: '1.2.3.4', path: '/a', bytes: 0 });
    expect(parse(`www.example.com:443 ${common} "-" "${chrome}"`)).toMatchObject({
      ip: '1.2.3.4',
      os: 'mac os',
    });
    expect(parse(`::1${common.slice(7)} "-" "curl/7.1" "10.0.0.1" 0.004`)).toMatchObject({
      ip: '::1',
      user_agent: 'curl/7.1',
    });
    expect(parse(`crawl-66.example.com${common.slice(7)}`).ip).toBe('crawl-66.example.com');
  });

  it.each([
    ['192.0.2.1, 198.51.100.2 -', '192.0.2.1'],
    ['192.0.2.1,198.51.100.2 -', '192.0.2.1'],
    ['2001:db8::1, unknown, 198.51.100.2 -', '2001:db8::1'],
    ['- -', undefined],
    ['192.0.2.7:54321 -', '192.0.2.7'],
    ['[2001:db8::5] -', '2001:db8::5'],
    ['[2001:db8::5]:443 -', '2001:db8::5'],
    ['fe80::1%eth0 -', 'fe80::1%eth0'],
    ['2001:db8::5 -', '2001:db8::5'],
    ['www.example.com:443 192.0.2.1:80 -', '192.0.2.1'],
    ['www.example.com:443 192.0.2.1 -', '192.0.2.1'],
  ])('has the address of its client: %s', (start, ip) => {
    const line = `${start} - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "${chrome}"`;
    expect(parse(line)).toMatchObject({ time: '2015-05-17T10:05:03.000Z', path: '/', user_agent: chrome });
    expect(parse(line).ip).toBe(ip);
  });

  it.each([
    ['0.003 "https://e/" "agent"', 'https://e/', 'agent'],
    ['0.003 - "https://e/" "agent" 0.1 "10.0.0.1"', 'https://e/', 'agent'],
    ['"https://e/?q="x" y" "agent"', 'https://e/?q="x" y', 'agent'],
    ['"-" "an "odd" agent" 0.1', undefined, 'an "odd" agent'],
    ['"-" "an "odd" one" "10.0.0.1" 0.1', undefined, 'an "odd" one'],
    ['0.003', undefined, undefined],
  ])('has the referrer and the user agent of its client: %s', (rest, referrer, userAgent) => {
    const event = parse(`1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 ${rest}`);
    expect([event.bytes, event.referrer, event.user_agent]).toEqual([5, referrer, userAgent]);
  });

  it.each([
    ['17/May/2015:23:30:00 -0700', '2015-05-18T06:30:00.000Z'],
    ['01/Jan/2020:00:00:00 +0530', '2019-12-31T18:30:00.000Z'],
    ['29/Feb/2016:12:00:00 +0000', '2016-02-29T12:00:00.000Z'],
    ['30/Jun/2015:23:59:60 +0000', '2015-07-01T00:00:00.000Z'],
  ])('has its time in UTC: %s', (written, time) => {
    expect(parse(`1.2.3.4 - - [${written}] "GET / HTTP/1.1" 200 1`).time).toBe(time);
  });

  it.each([
    ['GET /a', 'GET', '/a'],
    ['GET /a b HTTP/1.1', 'GET', '/a b'],
    ['PROPFIND /dav HTTP/2.0', 'PROPFIND', '/dav'],
    ['OPTIONS * HTTP/2', 'OPTIONS', '*'],
    [String.raw`GET /\"quoted\" HTTP/1.1`, 'GET', '/"quoted"'],
    [String.raw`GET /\xd0\xbf HTTP/1.1`, 'GET', '/п'],
    ['GET /say"x HTTP/1.1', 'GET', '/say"x'],
    [String.raw`\x16\x03\x01`, undefined, undefined],
    [String.raw`\n`, undefined, undefined],
    ['', undefined, undefined],
    ['GET', undefined, undefined],
  ])('has a request, even a malformed one: %s', (request, method, path) => {
    const event = parse(`1.2.3.4 - - [17/May/2015:10:05:03 +0000] "${request}" 400 1 "-" "-"`);
    expect([event.method, event.path]).toEqual([method, path]);
  });

  it('keeps escapes that are no UTF-8, and reads the rest', () => {
    const referrer = String.raw`http://\xe4\xe5-\xf0/\"\\\t\q`;
    const event = parse(`1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.0" 200 1 "${referrer}" "-"`);
    expect(event.referrer).toBe(`http://${String.raw`\xe4\xe5-\xf0`}/"\\\t${String.raw`\q`}`);
  });

  it('may be cut within the user agent', () => {
    const line = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozilla/5.0 (comp';
    expect(parse(line).user_agent).toBe('Mozilla/5.0 (comp');
  });

  it.each([
    ['hello', 'does not start with'],
    ['1.2.3.4 - - [yesterday] "GET / HTTP/1.1" 200 1', 'has no time, but [yesterday]'],
    ['1.2.3.4 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1', 'has no time'],
    ['1.2.3.4 - - [17/May/2015:24:05:03 +0000] "GET / HTTP/1.1" 200 1', 'has no time'],
    ['1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HT', 'ends in the middle of the request'],
    ['1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" ok 1', 'has no status and size'],
    ['1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 2000 1', 'has no status and size'],
  ])('may be none, with the reason: %s', (line, reason) => {
    expect(reasonOf(line)).toContain(reason);
  });
});

/** As Apache writes it: quotes and backslashes behind a backslash, other bytes in hexadecimal. */
function escapeAsApache(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      if (byte === 0x22 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
      return byte >= 0x20 && byte < 0x7f
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}

/** As nginx writes it: quotes and backslashes in hexadecimal too. */
function escapeAsNginx(text: string): string {
  return escapeAsApache(text).replaceAll('\\"', '\\x22').replaceAll('\\\\', '\\x5C');
}

const monthNames = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function formatTime(time: Date): string {
  const iso = time.toISOString();
  return `${iso.slice(8, 10)}/${monthNames[time.getUTCMonth()]}/${iso.slice(0, 4)}:${iso.slice(11, 19)} +0000`;
}

const someText = fc.string({ unit: 'binary', minLength: 1, maxLength: 60 });
const field = someText.filter((text) => text !== '-');
const target = field.map((text) => `/${text}`).filter((text) => !/ HTTP\/\d(\.\d)?$/.test(text));
const someEvent = fc.record({
  time: fc.date({ min: new Date(0), max: new Date('2100-01-01T00:00:00Z'), noInvalidDate: true }),
  ip: fc.oneof(fc.ipV4(), fc.ipV6()),
  method: fc.constantFrom('GET', 'POST', 'M-SEARCH'),
  path: target,
  status: fc.integer({ min: 100, max: 599 }),
  bytes: fc.option(fc.nat(), { nil: undefined }),
  referrer: fc.option(field, { nil: undefined }),
  userAgent: fc.option(field, { nil: undefined }),
});

describe.each([
  ['Apache', escapeAsApache],
  ['nginx', escapeAsNginx],
])('any line that %s writes', (_, escapeField) => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(someEvent, ({ time, ip, method, path, status, bytes, referrer, userAgent }) => {
        const request = `${method} ${escapeField(path)} HTTP/1.1`;
        const quoted = [referrer, userAgent].map(
          (text) => `"${text === undefined ? '-' : escapeField(text)}"`,
        );
        const line = `${ip} - - [${formatTime(time)}] "${request}" ${status} ${bytes ?? '-'} ${quoted.join(' ')}`;
        const { browser, os, ...event } = parse(line);
        const seconds = `${time.toISOString().slice(0, 19)}.000Z`;
        expect(event).toStrictEqual({
          event: 'view',
          time: seconds,
          ip,
          method,
          path,
          status,
          ...(bytes === undefined ? {} : { bytes }),
          ...(referrer === undefined ? {} : { referrer }),
          ...(userAgent === undefined ? {} : { user_agent: userAgent }),
        });
      }),
      { numRuns: 500 },
    );
  });
});

describe('any text', () => {
  it('is a line or is none, but never an exception', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        parseLogLine(text, nameUserAgent);
        parseLogLine(`1.2.3.4 - - [17/May/2015:10:05:03 +0000] "${text}`, nameUserAgent);
      }),
    );
  });
});

describe('names of user agents', () => {
  it.each([
    [chrome, 'chrome', 'mac os'],
    ['Mozilla/5.0 (X11; Linux x86_64; rv:27.0) Gecko/20100101 Firefox/27.0', 'firefox', 'linux'],
    ['Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko', 'ie', 'windows'],
    ['something else', undefined, undefined],
  ])('are lower-case: %s', (userAgent, browser, os) => {
    expect(createUserAgentNames()(userAgent)).toEqual({ ...(browser && { browser }), ...(os && { os }) });
  });

  it('stay right when more come than are remembered', () => {
    const names = createUserAgentNames(2);
    for (let round = 0; round < 3; round += 1) {
      expect(names(chrome).browser).toBe('chrome');
      for (const other of ['a', 'b', 'c']) expect(names(other)).toEqual({});
    }
  });
});
