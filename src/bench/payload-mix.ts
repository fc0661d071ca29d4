/** Events as a web shop with an app sends them: made from a fixed seed, so that two runs post the same bytes. */

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
