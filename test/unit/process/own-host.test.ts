import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { isLoopback, isOwnHost } from '../../../src/process/hosts.ts';

test.each([
  'localhost',
  'LOCALHOST',
  '127.0.0.1',
  '127.9.9.9',
  '[::1]',
  '::1',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
])('%s is loopback', (host) => {
  expect([isLoopback(host), isOwnHost(host)]).toEqual([true, true]);
});

test.each([
  'example.org',
  'localhost.example.org',
  '127.0.0.1.example.org',
  '192.0.2.1',
  '[2001:db8::1]',
  '',
])('%s is another machine', (host) => {
  expect([isLoopback(host), isOwnHost(host)]).toEqual([false, false]);
});

test('every address of an interface is this machine, and so is the unspecified one', () => {
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  for (const { address } of own) expect(isOwnHost(address)).toBe(true);
  for (const host of ['0.0.0.0', '[::]']) expect([isLoopback(host), isOwnHost(host)]).toEqual([false, true]);
});
