import { describe, expect, test } from 'vitest';
import {
  EventLinks,
  formatTraceparent,
  newContext,
  parseTraceparent,
} from '../../../src/tracing/trace-context.ts';
import { fc } from '../../support/fast-check.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';

describe('traceparent', () => {
  test.each([
    [`00-${trace}-${span}-01`, true],
    [`00-${trace}-${span}-00`, false],
    [`00-${trace}-${span}-03`, true],
    [`cc-${trace}-${span}-01`, true],
    [`cc-${trace}-${span}-01-what-comes-later`, true],
  ])('%s is sampled: %s', (text, isSampled) => {
    expect(parseTraceparent(text)).toEqual({ traceId: trace, spanId: span, isSampled });
  });

  test.each([
    '',
    'nonsense',
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01-more`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace}-${span}`,
    ` 00-${trace}-${span}-01`,
  ])('%j is none', (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  test('comes back as it was written, and a child stays in the trace', () => {
    fc.assert(
      fc.property(fc.boolean(), (hasParent) => {
        const parent = hasParent ? newContext() : undefined;
        const context = newContext(parent);
        expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
        expect(context.spanId).not.toBe(parent?.spanId);
        if (parent !== undefined) expect(context.traceId).toBe(parent.traceId);
      }),
    );
  });
});

describe('the links of a batch', () => {
  const headersOf = (text: string) =>
    [
      ['id', 'x'],
      ['traceparent', text],
    ] as const;

  test('are the sampled contexts, each once', () => {
    const links = new EventLinks();
    const [a, b] = [newContext(), newContext()];
    links.see(undefined);
    links.see([['id', 'x']]);
    for (const context of [a, a, b, a]) links.see(headersOf(formatTraceparent(context)));
    links.see(headersOf(formatTraceparent({ ...newContext(), isSampled: false })));
    links.see(headersOf('written by somebody else'));
    expect(links.contexts).toEqual([a, b]);
    expect(links.dropped).toBe(0);
  });

  test('are no more than 128', () => {
    const links = new EventLinks();
    for (let i = 0; i < 200; i++) links.see(headersOf(formatTraceparent(newContext())));
    expect(links.contexts).toHaveLength(128);
    expect(links.dropped).toBe(72);
  });
});
