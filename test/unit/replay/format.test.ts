import { describe, expect, it } from 'vitest';
import { createEncoder, detectFormat } from '../../../src/replay/format.ts';

describe('the format of a file', () => {
  it.each([
    ['{"event":"view"}', 'ndjson'],
    ['1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1', 'access-log'],
    ['[2001:db8::5] - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1', 'access-log'],
    ['[2001:db8::5]:443 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1', 'access-log'],
  ])('is told by its first line: %s', (line, format) => {
    expect(detectFormat(Buffer.from(line))).toBe(format);
  });

  it.each(['[', '[{"event":"view"}]', '["a:b"]', '[1]', '[]'])('is none for a JSON array: %s', (line) => {
    expect(() => detectFormat(Buffer.from(line))).toThrow(/JSON array/);
  });
});

describe('an access log', () => {
  it('keeps bytes that are no UTF-8, as escapes', () => {
    const line = Buffer.from(
      '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /caf\xe9?q=\xd0\xbf HTTP/1.1" 200 1 "-" "a\xe9b \xc3\xa9"',
      'latin1',
    );
    const encoded = createEncoder('access-log', false)(line);
    expect(encoded.ok && JSON.parse(Buffer.from(encoded.bytes).toString())).toMatchObject({
      path: String.raw`/caf\xe9?q=п`,
      user_agent: String.raw`a\xe9b é`,
    });
  });
});
