import { expect, test } from 'vitest';
import { PathSample } from '../../../src/collector/path-sample.ts';

test('distinct paths of every 64th event are counted, for one to two hours', () => {
  let now = 0;
  const sample = new PathSample(() => now);
  for (let n = 0; n < 640; n++)
    sample.add({ event: 'cart', items: { [`id${n}`]: { qty: 1 } }, tags: [{ a: 1 }] });
  // event, tags, and ten ids.
  expect(sample.size()).toBe(12);
  now += 3_600_000;
  expect(sample.size()).toBe(12);
  for (let n = 0; n < 64; n++) sample.add({ event: 'view' });
  expect(sample.size()).toBe(12);
  now += 3_600_000;
  expect(sample.size()).toBe(1);
  now += 7_200_000;
  expect(sample.size()).toBe(0);
});

test('no more than 10,000 are remembered', () => {
  const sample = new PathSample(() => 0);
  sample.add(Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`k${n}`, n])));
  expect(sample.size()).toBe(10_000);
});
