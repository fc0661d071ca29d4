import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { createStatusGuard } from '../../../src/process/hosts.ts';

const guard = createStatusGuard({ host: '127.0.0.1', port: 8080 }, ['Collector-1', 'status.example.com']);
const visit = (host: string, more: { origin?: string; site?: string } = {}) =>
  guard({ host, origin: '', site: '', ...more })?.code;

test.each([
  ...['127.0.0.1:8080', '127.9.9.9', '[::1]:8080', '[::1]', 'localhost:8080', 'LOCALHOST', 'a.localhost:1'],
  ...['10.0.0.5:8080', '[2001:db8::1]:8080', 'collector-1:8080', 'COLLECTOR-1', 'status.example.com.:443'],
  hostname(),
  '',
])('a page is given under %s', (host) => {
  expect(visit(host)).toBe(undefined);
});

test.each([
  ...['evil.example', 'evil.example:8080', '127.0.0.1.evil.example', 'localhost.evil.example', 'xlocalhost'],
  ...['0x7f000001', '2130706433', '127.1', '[::1', '[evil.example]', 'a:b:c', 'collector-1@evil', '.'],
  '[127.0.0.1.evil]:80',
])('a page is not given under %s', (host) => {
  expect(visit(host)).toBe('HOST_NOT_ALLOWED');
});

test('the name that the server listens on is one of its own', () => {
  const named = createStatusGuard({ host: 'Inside.example', port: 1 }, []);
  expect(named({ host: 'inside.example:1', origin: '', site: '' })).toBe(undefined);
  expect(named({ host: 'outside.example:1', origin: '', site: '' })?.detail).toContain('--status-hosts');
});

test('pages of other sites get nothing, pages of the same do', () => {
  for (const site of ['', 'none', 'same-origin']) expect(visit('localhost:8080', { site })).toBe(undefined);
  expect(visit('localhost:8080', { site: 'cross-site' })).toBe('ORIGIN_NOT_ALLOWED');
  expect(visit('localhost:8080', { origin: 'http://localhost:8080' })).toBe(undefined);
  for (const origin of [
    'null',
    'http://evil.example',
    'http://localhost:3000',
    'localhost:8080',
    'http://',
  ]) {
    expect([origin, visit('localhost:8080', { origin })]).toEqual([origin, 'ORIGIN_NOT_ALLOWED']);
  }
  // A rebound name: host and origin agree, and both are the attacker's.
  expect(visit('evil.example:8080', { origin: 'http://evil.example:8080' })).toBe('HOST_NOT_ALLOWED');
});
