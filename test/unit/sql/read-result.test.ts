import { expect, test } from 'vitest';
import { readResult } from '../../../src/sql/run-statement.ts';

const tag = 'rumtjmrnbvhlfwqa';
const message = 'Code: 395. DB::Exception: boom: while executing. (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)';
/** As ClickHouse 25.11 and later write it. */
const block = `\r\n__exception__\r\n${tag}\r\n${message}\n${message.length + 1} ${tag}\r\n__exception__\r\n`;

/** A body in pieces of a size, which the connection's end may cut off. */
async function* bodyOf(text: string, size: number, error?: Error) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  if (error !== undefined) throw error;
}

async function read(body: AsyncIterable<Uint8Array>, exceptionTag: string) {
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of readResult({ body, exceptionTag })) pieces.push(piece);
  } catch (error) {
    return { text: Buffer.concat(pieces).toString(), error };
  }
  return { text: Buffer.concat(pieces).toString(), error: undefined };
}

const data = 'a\tb\r\n__exception__\r\nnot the tag\r\n'.repeat(10);

test.each([1, 2, 7, 100, 10_000])(
  'an exception at the end is no data, in pieces of %i bytes',
  async (size) => {
    for (const cut of [undefined, new Error('other side closed')]) {
      const { text, error } = await read(bodyOf(data + block, size, cut), tag);
      expect(text).toBe(data);
      expect(error).toMatchObject({ name: 'ClickHouseError', code: 395, message });
    }
  },
);

test('data is passed on as it is', async () => {
  for (const exceptionTag of ['', tag])
    expect(await read(bodyOf(data, 5), exceptionTag)).toEqual({ text: data, error: undefined });
});

test('what breaks off says how far it came', async () => {
  for (const exceptionTag of ['', tag]) {
    const { text, error } = await read(bodyOf(data, 5, new Error('other side closed')), exceptionTag);
    expect(text).toBe(data);
    expect(error).toMatchObject({
      code: 0,
      message: expect.stringMatching(/after \d+ bytes.*other side closed/),
    });
  }
});
