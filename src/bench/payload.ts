/**
 * What a load run posts: bodies that are made before it starts, so that sending them costs little.
 *
 * Events as a web shop with an app sends them: made from a fixed seed, so that two runs post the same bytes.
 */
import { readFileSync, statSync } from 'node:fs';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';

/** Bodies of posts. */
export interface Payload {
  /** `classic`, `mix`, or the file. */
  readonly name: string;
  readonly contentType: 'application/json' | 'application/x-ndjson';
  /** Events in each body, 1 to 20,000. */
  readonly eventsPerPost: number;
  /** Mean size of an event, bytes. */
  readonly bytesPerEvent: number;
  /** Bodies in the order in which they are posted, again and again; at least one. */
  readonly bodies: readonly Buffer[];
}

/** What the first collector was measured with. */
export const classicEvent = '{"event":"view","os":"linux","browser":"chrome"}';

const maxEventsPerPost = 20_000;
const maxFileEvents = 100_000;
const maxFileBytes = 64 * 1024 * 1024;

/**
 * Makes the bodies: from `classic`, one small event; from `mix`, some hundreds of different ones; or from a file of
 * events, one a line. One event a post is sent as application/json, several are sent as NDJSON. When the events of a
 * file do not fill the last body, it is filled up from the first ones.
 * @throws OperatorError exit 2 for a file that cannot be read, is too long, or has a line that is not a JSON object
 */
export function createPayload(name: string, eventsPerPost = 1): Payload {
  if (!Number.isInteger(eventsPerPost) || eventsPerPost < 1 || eventsPerPost > maxEventsPerPost)
    throw fault(`a post takes 1 to ${maxEventsPerPost} events, not ${eventsPerPost}`);
  const events = readEvents(name, eventsPerPost);
  const bytes = events.reduce((sum, event) => sum + Buffer.byteLength(event), 0);
  return {
    name,
    contentType: eventsPerPost === 1 ? 'application/json' : 'application/x-ndjson',
    eventsPerPost,
    bytesPerEvent: bytes / events.length,
    bodies: Array.from({ length: Math.ceil(events.length / eventsPerPost) }, (_, i) =>
      createBody(events, i * eventsPerPost, eventsPerPost),
    ),
  };
}

function readEvents(name: string, eventsPerPost: number): readonly string[] {
  if (name === 'classic') return [classicEvent];
  // Enough bodies to differ, and few enough to be held.
  if (name === 'mix') return createMix(eventsPerPost * Math.min(500, Math.ceil(20_000 / eventsPerPost)));
  return readFile(name);
}

function createBody(events: readonly string[], first: number, count: number): Buffer {
  if (count === 1) return Buffer.from(events[first] as string);
  const lines = Array.from({ length: count }, (_, i) => events[(first + i) % events.length]);
  return Buffer.from(`${lines.join('\n')}\n`);
}

function readFile(file: string): string[] {
  const lines = readText(file).split('\n');
  const events: string[] = [];
  for (const [i, line] of lines.entries()) {
    const event = line.trim();
    if (event === '') continue;
    if (!isObject(event)) throw fault(`line ${i + 1} of ${file} is not a JSON object`);
    events.push(event);
  }
  if (events.length === 0) throw fault(`${file} holds no events: write one per line`);
  if (events.length > maxFileEvents) throw tooLong(file);
  return events;
}

function readText(file: string): string {
  try {
    if (statSync(file).size > maxFileBytes) throw tooLong(file);
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw fault(`cannot read ${file}: ${messageOf(error)}. Give classic, mix, or a file of events`);
  }
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function tooLong(file: string): OperatorError {
  return fault(`${file} has more than ${maxFileEvents} events or ${maxFileBytes / 1024 ** 2} MiB: split it`);
}

function fault(message: string): OperatorError {
  return new OperatorError(message, exitCodes.usage);
}

/** A generator of numbers from 0 to 1 that gives the same ones each time. */
type Random = () => number;

const seed = 20_260_131;
const firstTimeMs = Date.UTC(2026, 0, 31, 8);

/** Makes events as JSON, 60 bytes to 2 KB, without ids, so that each becomes a row of its own. */
export function createMix(count: number): string[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, (_, i) => JSON.stringify(createEvent(random, i)));
}

/** Mulberry32. */
function createRandom(start: number): Random {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const integer = (random: Random, below: number) => Math.floor(random() * below);
const hex = (random: Random, digits: number) =>
  Array.from({ length: digits }, () => integer(random, 16).toString(16)).join('');

const clients = [
  {
    browser: 'chrome',
    os: 'windows',
    device: 'desktop',
    user_agent:
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36',
  },
  {
    browser: 'safari',
    os: 'ios',
    device: 'mobile',
    user_agent:
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  },
  {
    browser: 'chrome',
    os: 'android',
    device: 'mobile',
    user_agent:
      'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Mobile Safari/537.36',
  },
  {
    browser: 'firefox',
    os: 'linux',
    device: 'desktop',
    user_agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0',
  },
] as const;
const languages = ['en-US', 'en-GB', 'de-DE', 'es-ES', 'pt-BR', 'ja-JP'] as const;
const countries = ['US', 'GB', 'DE', 'ES', 'BR', 'JP', 'IN'] as const;
const categories = ['shoes', 'coats', 'lamps', 'books', 'garden', 'kitchen'] as const;
const adjectives = ['blue', 'large', 'foldable', 'organic', 'second-hand', 'größte', '静かな'] as const;
const referrers = [
  '',
  'https://www.google.com/',
  'https://duckduckgo.com/?q=quiet+kitchen+lamps',
  'https://news.example.org/2026/01/what-to-buy-this-winter?utm_source=newsletter&utm_medium=email',
] as const;

function createEvent(random: Random, position: number): object {
  const common = {
    time: new Date(firstTimeMs + position * 37).toISOString(),
    user_id: `u-${1 + integer(random, 50_000)}`,
    session_id: hex(random, 16),
  };
  const share = random();
  if (share < 0.12) return { event: 'heartbeat', session_id: hex(random, 16), seq: integer(random, 900) };
  if (share < 0.5) return createView(random, common);
  if (share < 0.72) return createClick(random, common);
  if (share < 0.8) return createSearch(random, common);
  if (share < 0.88) return createApiCall(random, common);
  if (share < 0.95) return createPurchase(random, common);
  return createError(random, common);
}

function createPage(random: Random) {
  const path = `/${pick(random, categories)}/${hex(random, 8)}`;
  const campaign = random() < 0.3 ? `?utm_source=ad&utm_campaign=winter-${integer(random, 40)}` : '';
  return { url: `https://shop.example.com${path}${campaign}`, path };
}

function createView(random: Random, common: object) {
  return {
    event: 'view',
    ...common,
    ...createPage(random),
    title: `The ${pick(random, adjectives)} ones among our ${pick(random, categories)} | Example Shop`,
    referrer: pick(random, referrers),
    ...pick(random, clients),
    language: pick(random, languages),
    country: pick(random, countries),
    screen: { width: 360 + 40 * integer(random, 60), height: 640 + 20 * integer(random, 70) },
  };
}

function createClick(random: Random, common: object) {
  return {
    event: 'click',
    ...common,
    ...createPage(random),
    target: `button#buy-${integer(random, 500)}`,
    x: integer(random, 1_920),
    y: integer(random, 4_000),
  };
}

function createSearch(random: Random, common: object) {
  return {
    event: 'search',
    ...common,
    query: `${pick(random, adjectives)} ${pick(random, categories)}`,
    results: integer(random, 400),
    duration_ms: Math.round(random() * 90_000) / 1_000,
    filters: { price: [integer(random, 50), 50 + integer(random, 900)], in_stock: random() < 0.5 },
  };
}

function createApiCall(random: Random, common: object) {
  return {
    event: 'api_call',
    ...common,
    method: pick(random, ['GET', 'GET', 'POST', 'DELETE']),
    path: `/api/v2/orders/${integer(random, 1_000_000)}`,
    status: pick(random, [200, 200, 200, 201, 304, 404, 500]),
    bytes: integer(random, 60_000),
    duration_ms: Math.round(random() * 400_000) / 1_000,
    ip: `198.51.100.${integer(random, 256)}`,
  };
}

function createPurchase(random: Random, common: object) {
  const items = Array.from({ length: 1 + integer(random, 12) }, () => ({
    sku: hex(random, 10).toUpperCase(),
    name: `${pick(random, adjectives)} ${pick(random, categories)}`,
    price: Math.round(random() * 20_000) / 100,
    quantity: 1 + integer(random, 3),
    attributes: { colour: pick(random, ['red', 'green', 'black']), size: integer(random, 50) },
  }));
  return {
    event: 'purchase',
    ...common,
    order_id: integer(random, 1e9),
    currency: pick(random, ['EUR', 'USD', 'JPY']),
    coupon: random() < 0.2 ? `WINTER${integer(random, 100)}` : null,
    items,
    country: pick(random, countries),
  };
}

function createError(random: Random, common: object) {
  const frames = Array.from(
    { length: 2 + integer(random, 16) },
    (_, i) =>
      `    at render${i} (https://shop.example.com/app-${hex(random, 6)}.js:${i + 1}:${integer(random, 9_999)})`,
  );
  return {
    event: 'error',
    ...common,
    ...createPage(random),
    ...pick(random, clients),
    message: `TypeError: Cannot read properties of undefined (reading '${pick(random, categories)}')`,
    stack: frames.join('\n'),
  };
}
