import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { type Account, Guard } from '../../../src/engine/auth.ts';

const hash = (text: string) => createHash('sha256').update(text).digest('hex');
const account = (isGenerated: boolean): Account[] => [
  { role: 'owner', user: 'default', passwordHash: hash('right'), isGenerated },
  { role: 'reader', user: 'reader', passwordHash: hash('other'), isGenerated },
];

function request(headers: Record<string, string>, socket = { remoteAddress: '127.0.0.1' }): IncomingMessage {
  return { headers, socket } as unknown as IncomingMessage;
}

const none = new URLSearchParams();
const login = (user: string, key: string) => ({ 'x-clickhouse-user': user, 'x-clickhouse-key': key });

/** The code of what is thrown, or the role. */
function outcome(guard: Guard, asked: IncomingMessage, url = none) {
  try {
    return guard.admit(asked, url);
  } catch (error) {
    return (error as { code: number }).code;
  }
}

describe('who gets in', () => {
  it('is whoever has the password, and nobody else', () => {
    const guard = new Guard(account(true));
    expect(outcome(guard, request(login('default', 'right')))).toBe('owner');
    expect(outcome(guard, request(login('reader', 'other')))).toBe('reader');
    expect(outcome(guard, request(login('reader', 'right')))).toBe(516);
    expect(outcome(guard, request(login('default', 'other')))).toBe(516);
    expect(outcome(guard, request(login('somebody', 'right')))).toBe(516);
    expect(outcome(guard, request({}))).toBe(194);
    expect(outcome(guard, request({}), new URLSearchParams({ user: 'default' }))).toBe(194);
    expect(outcome(guard, request({}), new URLSearchParams({ password: 'right' }))).toBe('owner');
    const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
    expect(outcome(guard, request(basic('default:right')))).toBe('owner');
    expect(outcome(guard, request(basic('default:')))).toBe(194);
  });

  it('is everybody where nobody needs a password, under the names that there are', () => {
    const guard = new Guard(account(false).map((one) => ({ ...one, passwordHash: undefined })));
    expect(outcome(guard, request({}))).toBe('owner');
    expect(outcome(guard, request(login('default', 'x')))).toBe('owner');
    expect(outcome(guard, request(login('reader', '')))).toBe('reader');
    expect(outcome(guard, request(login('somebody', '')))).toBe(194);
    expect(outcome(guard, request(login('somebody', '0')))).toBe(516);
  });
});

describe('guesses', () => {
  it('are limited by address: ten at once, then one a second, not even the right one passes', () => {
    let now = 0;
    const guard = new Guard(account(false), () => now);
    const wrong = () => outcome(guard, request(login('default', 'wrong')));
    for (let i = 0; i < 10; i += 1) expect(wrong()).toBe(516);
    expect(wrong()).toBe(201);
    expect(outcome(guard, request(login('default', 'right')))).toBe(201);
    expect(outcome(guard, request(login('default', 'right'), { remoteAddress: '127.0.0.2' }))).toBe('owner');
    now += 1_001;
    expect(wrong()).toBe(516);
    expect(wrong()).toBe(201);
    now += 1_001;
    expect(outcome(guard, request(login('default', 'right')))).toBe('owner');
  });

  it('of others lock out neither a connection that gave the right password, nor a random password', () => {
    const chosen = new Guard(account(false), () => 0);
    const socket = { remoteAddress: '127.0.0.1' };
    expect(outcome(chosen, request(login('default', 'right'), socket))).toBe('owner');
    for (let i = 0; i < 20; i += 1) outcome(chosen, request(login('default', 'wrong')));
    expect(outcome(chosen, request(login('default', 'right'), socket))).toBe('owner');
    expect(outcome(chosen, request(login('default', 'right')))).toBe(201);
    const generated = new Guard(account(true), () => 0);
    for (let i = 0; i < 20; i += 1) outcome(generated, request(login('default', 'wrong')));
    expect(outcome(generated, request(login('default', 'wrong')))).toBe(201);
    expect(outcome(generated, request(login('default', 'right')))).toBe('owner');
  });

  it('from one network of IPv6 count together', () => {
    const guard = new Guard(account(false), () => 0);
    for (let i = 0; i < 10; i += 1)
      outcome(guard, request(login('default', 'wrong'), { remoteAddress: `2001:db8:1:2::${i}` }));
    expect(
      outcome(guard, request(login('default', 'wrong'), { remoteAddress: '2001:db8:1:2:ffff::1' })),
    ).toBe(201);
    expect(outcome(guard, request(login('default', 'wrong'), { remoteAddress: '2001:db8:1:3::1' }))).toBe(
      516,
    );
  });
});
