import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { checkDoor, type DoorOptions } from '../../../src/engine/handler.ts';

const loopback: DoorOptions = {
  host: '127.0.0.1',
  hosts: ['ch.internal'],
  origins: ['https://console.example'],
};
const everywhere: DoorOptions = { ...loopback, host: '0.0.0.0' };

function passes(headers: Record<string, string>, door = loopback, more: string[] = []): boolean {
  const rawHeaders = [...Object.entries(headers).flat(), ...more];
  const response = { setHeader: () => {} } as unknown as ServerResponse;
  try {
    checkDoor({ headers, rawHeaders } as unknown as IncomingMessage, response, door);
    return true;
  } catch {
    return false;
  }
}

it.each([
  ['127.0.0.1:8123', true],
  ['127.9.9.9', true],
  ['localhost:1', true],
  ['LOCALHOST', true],
  ['a.localhost:8123', true],
  ['[::1]:8123', true],
  ['ch.internal:8123', true],
  ['evil.example:8123', false],
  ['localhost.evil.example', false],
  ['127.0.0.1.evil.example', false],
  ['192.168.1.2:8123', false],
  ['', false],
  ['localhost evil.example', false],
  ['user@127.0.0.1', false],
  ['[::1', false],
])('Host: %j', (host, expected) => {
  expect(passes({ host })).toBe(expected);
});

it('takes any address where it listens on all, since an address cannot be rebound, and no name', () => {
  expect(passes({ host: '192.168.1.2:8123' }, everywhere)).toBe(true);
  expect(passes({ host: 'evil.example' }, everywhere)).toBe(false);
});

it('takes one Host', () => {
  expect(passes({ host: 'localhost' }, loopback, ['Host', 'localhost'])).toBe(false);
});

it.each([
  [{}, true],
  [{ origin: 'http://localhost:8123' }, true],
  [{ origin: 'https://console.example' }, true],
  [{ origin: 'https://console.example', 'sec-fetch-site': 'cross-site' }, true],
  [{ origin: 'http://localhost:3000' }, false],
  [{ origin: 'https://localhost:8123' }, false],
  [{ origin: 'http://evil.example' }, false],
  [{ origin: 'null' }, false],
  [{ 'sec-fetch-site': 'same-origin' }, true],
  [{ 'sec-fetch-site': 'none' }, true],
  [{ 'sec-fetch-site': 'same-site' }, false],
  [{ 'sec-fetch-site': 'cross-site' }, false],
])('from a page: %j', (headers, expected) => {
  expect(passes({ host: 'localhost:8123', ...headers })).toBe(expected);
});
