import { describe, expect, test } from 'vitest';
import { type Answer, AnswerFault, AnswerParser } from '../../../src/bench/answer-parser.ts';
import { fc } from '../../support/fast-check.ts';

const receipt = '{"status":"ok","partition":0,"offset":17}';
const ok = { status: 200, isLast: false };
const bytes = (text: string) => Buffer.from(text).toString('latin1');

/** Answers as they come over a connection, and what they are. */
const answers: readonly (readonly [string, string, Answer])[] = [
  ['with a length', `HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n${receipt}`, { ...ok, body: receipt }],
  [
    'with names and values in any case and with spaces',
    `HTTP/1.1 202 \r\nCONTENT-LENGTH:41 \t\r\nX-Empty:\r\nconnection: Keep-Alive\r\n\r\n${receipt}`,
    { ...ok, status: 202, body: receipt },
  ],
  ['without a reason', `HTTP/1.1 503\r\nContent-Length: 2\r\n\r\n{}`, { ...ok, status: 503, body: '{}' }],
  ['with no body', 'HTTP/1.1 204 No Content\r\n\r\n', { ...ok, status: 204, body: '' }],
  [
    'with an empty body',
    'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n',
    { ...ok, status: 400, body: '' },
  ],
  [
    'with bytes that are no ASCII',
    `HTTP/1.1 200 OK\r\nX: ${bytes('ü')}\r\nContent-Length: 4\r\n\r\n${bytes('静\n')}`,
    { ...ok, body: bytes('静\n') },
  ],
  [
    'with a body that looks like a head',
    'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 500 X\r\n\r\n\n',
    { ...ok, body: 'HTTP/1.1 500 X\r\n\r\n\n' },
  ],
  [
    'that is the last one',
    `HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\n{}`,
    { status: 200, body: '{}', isLast: true },
  ],
  [
    'of HTTP/1.0',
    `HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}`,
    { status: 200, body: '{}', isLast: true },
  ],
  [
    'of HTTP/1.0 that keeps the connection',
    `HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}`,
    { ...ok, body: '{}' },
  ],
  [
    'in chunks',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n{"a\r\n00C;x="y"\r\n":"\r\n0\r\n\r\n"}\r\n0\r\n\r\n`,
    { ...ok, body: '{"a":"\r\n0\r\n\r\n"}' },
  ],
  [
    'in chunks, with trailers',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nF\r\n${'x'.repeat(15)}\r\n0\r\nA: b\r\nC: d\r\n\r\n`,
    { ...ok, body: 'x'.repeat(15) },
  ],
  ['in no chunks', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, { ...ok, body: '' }],
  [
    'after interim ones',
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}`,
    { ...ok, body: '{}' },
  ],
  [
    'with the same length twice',
    `HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2, 2\r\n\r\n{}`,
    { ...ok, body: '{}' },
  ],
];

/** What comes out of pieces of the text. */
function readInPieces(parser: AnswerParser, text: string, cuts: readonly number[]): Answer[] {
  const found: Answer[] = [];
  const places = [0, ...cuts.toSorted((a, b) => a - b), text.length];
  for (let i = 1; i < places.length; i++) {
    const answer = parser.push(text.slice(places[i - 1], places[i]));
    if (answer !== undefined) found.push(answer);
  }
  return found;
}

describe('an answer', () => {
  test.each(answers)('%s is read', (_, text, answer) => {
    const parser = new AnswerParser();
    expect(parser.push(text)).toEqual(answer);
    // Again, from what is known of the first one.
    expect(parser.push(text)).toEqual(answer);
    expect(parser.isInside).toBe(false);
    expect(parser.end()).toBeUndefined();
  });

  test('is the same one wherever its bytes are cut', () => {
    const cut = fc.tuple(fc.constantFrom(...answers), fc.array(fc.nat(300), { maxLength: 12 }));
    fc.assert(
      fc.property(fc.array(cut, { minLength: 1, maxLength: 6 }), (list) => {
        const parser = new AnswerParser();
        for (const [[, text, answer], cuts] of list) {
          const places = cuts.map((place) => place % (text.length + 1));
          expect(readInPieces(parser, text, places)).toEqual([answer]);
        }
      }),
    );
    for (const [, text, answer] of answers) {
      const everywhere = Array.from(text, (_, i) => i);
      expect(readInPieces(new AnswerParser(), text, everywhere)).toEqual([answer]);
    }
  });

  test('without a length ends with the connection', () => {
    const parser = new AnswerParser();
    expect(parser.push('HTTP/1.1 200 OK\r\n\r\n{"a')).toBeUndefined();
    expect(parser.push('":1}')).toBeUndefined();
    expect(parser.end()).toEqual({ status: 200, body: '{"a":1}', isLast: true });
  });

  test('that other heads of the connection resemble is still read by its own', () => {
    const parser = new AnswerParser();
    const push = (length: number, body: string) =>
      parser.push(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n${body}`);
    expect(push(2, '{}')?.body).toBe('{}');
    expect(push(3, '{ }')?.body).toBe('{ }');
    expect(push(2, '{')).toBeUndefined();
    expect(parser.isInside).toBe(true);
    expect(parser.push('}')?.body).toBe('{}');
  });
});

const head = 'HTTP/1.1 200 OK\r\n';
const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;

describe('what is no answer', () => {
  test.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n\r\n', 'status line'],
    ['HTTP/2', 'HTTP/2 200\r\n\r\n', 'status line'],
    ['a status that is none', 'HTTP/1.1 999 What\r\n\r\n', 'status line'],
    ['another protocol from here on', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', 'switched'],
    ['a header without a colon', `${head}nonsense\r\n\r\n`, 'header'],
    ['a space before the colon', `${head}Content-Length : 2\r\n\r\n{}`, 'header'],
    ['a folded header', `${head}A: b\r\n c\r\n\r\n`, 'header'],
    ['a bare line feed in a header', `${head}A: b\nContent-Length: 2\r\n\r\n{}`, 'header'],
    ['no length', `${head}Content-Length: x\r\n\r\n`, 'length'],
    ['a negative length', `${head}Content-Length: -1\r\n\r\n`, 'length'],
    ['two lengths', `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`, 'length'],
    ['an endless length', `${head}Content-Length: 999999999\r\n\r\n`, 'body is too long'],
    ['a length and chunks', `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`, 'both'],
    ['a coding that nobody asked for', `${head}Transfer-Encoding: gzip, chunked\r\n\r\n`, 'encoding'],
    ['a chunk without a size', `${chunked}\r\n`, 'size of a chunk'],
    ['a size that is none', `${chunked}0x2\r\n{}\r\n`, 'size of a chunk'],
    ['a chunk that is too long', `${chunked}1\r\n{}\r\n0\r\n\r\n`, 'longer than its size'],
    ['an endless chunk', `${chunked}ffffffff\r\n`, 'body is too long'],
    ['an endless line', chunked + '0'.repeat(70_000), 'line is too long'],
    ['endless headers', `${head}A: ${'b'.repeat(70_000)}`, 'headers are too long'],
    ['more than the answer', `${head}Content-Length: 2\r\n\r\n{}{}`, 'bytes follow'],
    ['two answers', `${head}Content-Length: 0\r\n\r\n${head}Content-Length: 0\r\n\r\n`, 'bytes follow'],
  ])('%s ends the connection', (_, text, message) => {
    const push = () => new AnswerParser().push(text);
    expect(push).toThrow(AnswerFault);
    expect(push).toThrow(message);
  });

  test('any prefix of one is not taken for it', () => {
    for (const [, text] of answers) {
      for (let length = 1; length < text.length; length++) {
        const parser = new AnswerParser();
        expect(parser.push(text.slice(0, length))).toBeUndefined();
        // After an interim answer nothing of the answer itself is there.
        if (parser.isInside) expect(() => parser.end()).toThrow('ended within the answer');
        else expect(parser.end()).toBeUndefined();
      }
    }
  });

  test('never ends the program in another way than a fault', () => {
    const noise = fc.string({
      unit: fc.constantFrom('\r', '\n', ':', ' ', '0', 'a', 'HTTP/1.1 200', '\r\n'),
    });
    const texts = fc.tuple(fc.constantFrom('', head, chunked), noise).map((parts) => parts.join(''));
    fc.assert(
      fc.property(texts, (text) => {
        try {
          new AnswerParser().push(text);
        } catch (error) {
          expect(error).toBeInstanceOf(AnswerFault);
        }
      }),
    );
  });
});
