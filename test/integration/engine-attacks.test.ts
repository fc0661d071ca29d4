/** Attacks on the embedded ClickHouse, each by its owner and by a reader, and by GET: docs/security.md. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Attack, aimed, attacks } from '../support/attacks.ts';
import { type Canary, createCanary } from '../support/canary.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

let engine: TestEngine;
let canary: Canary;
const password = 'a password of the tests';

beforeAll(async () => {
  canary = await createCanary();
  engine = await startTestEngine({ password });
});

afterAll(async () => {
  await engine.dispose();
  canary.close();
});

const logins = {
  owner: { 'x-clickhouse-user': 'default', 'x-clickhouse-key': password },
  reader: { 'x-clickhouse-user': 'reader', 'x-clickhouse-key': `${password}-reader` },
};

interface Way {
  readonly method: 'GET' | 'POST';
  readonly login: keyof typeof logins;
}

/** Sends the statements of an attack, and gives what was answered. */
async function send(attack: Attack, { method, login }: Way) {
  const answers: { status: number; text: string; code: number }[] = [];
  for (const sql of attack.sql) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(attack.settings ?? {})) query.set(name, aimed(value, canary));
    for (const [name, value] of Object.entries(attack.params ?? {})) query.set(`param_${name}`, value);
    const statement = aimed(sql, canary);
    if (method === 'GET') query.set('query', statement);
    const init = { method, headers: logins[login], ...(method === 'POST' && { body: statement }) };
    const response = await fetch(`${engine.url}/?${query}`, init);
    const text = await response.text();
    answers.push({
      status: response.status,
      text,
      code: Number(response.headers.get('x-clickhouse-exception-code')),
    });
  }
  return answers;
}

describe.each([
  { method: 'POST', login: 'owner' },
  { method: 'POST', login: 'reader' },
  { method: 'GET', login: 'owner' },
] as const)('by $method of the $login', (way) => {
  it.each(attacks.map((attack) => [attack.name, attack] as const))('%s', async (_, attack) => {
    const answers = await send(attack, way);
    expect(canary.harm()).toEqual([]);
    expect(answers.map(({ text }) => text).join()).not.toContain(canary.secret);
    // Refused, and not as a failure of the server.
    expect(answers.some(({ status }) => status >= 400)).toBe(true);
    for (const { status, text } of answers) expect([status < 500, text]).toEqual([true, text]);
  });
});

it('reads what it should not where a statement is read otherwise by GET: readonly cannot be lifted', async () => {
  const lifted = ['00', '+0', '0 ', ' 0', '0x0', '-0', '0.0', "0'", '', 'false', '3', '99999999999999999999'];
  for (const readonly of lifted) {
    const query = new URLSearchParams({ query: 'CREATE TABLE lifted (a UInt8) ENGINE = Memory', readonly });
    const response = await fetch(`${engine.url}/?${query}`, { headers: logins.owner });
    expect([readonly, response.status]).toEqual([
      readonly,
      expect.toSatisfy((status) => [400, 403].includes(status)),
    ]);
  }
  const inStatement = 'SELECT 1 SETTINGS readonly = 0';
  const response = await fetch(`${engine.url}/?${new URLSearchParams({ query: inStatement })}`, {
    headers: logins.owner,
  });
  expect(response.status).toBe(403);
  const exists = await fetch(engine.url, {
    method: 'POST',
    headers: logins.owner,
    body: 'EXISTS TABLE lifted',
  });
  expect(await exists.text()).toBe('0\n');
});
