/** What a broker may answer: never more memory than stated, never the end of the process, always an error that names it. */
import { metadataV12 } from '@platformatic/kafka';
import { afterEach, describe, expect, test } from 'vitest';
import {
  AnswerLengths,
  BrokerAnswerError,
  BrokerLink,
  maxAnswerBytes,
} from '../../../src/buffer/kafka/broker-link.ts';
import { fetchApi, fetchLayout, produceApi } from '../../../src/buffer/kafka/messages.ts';
import { type FakeBroker, type FakeRequest, frame, startFakeBroker } from '../../support/fake-broker.ts';
import { fc } from '../../support/fast-check.ts';

let broker: FakeBroker;
let link: BrokerLink;

afterEach(async () => {
  link?.close();
  await broker?.close();
});

async function connectTo(answer: (request: FakeRequest) => Buffer, maxBytes?: number): Promise<void> {
  broker = await startFakeBroker(answer);
  link = new BrokerLink(broker, { clientId: 'test', requestTimeoutMs: 5_000, maxAnswerBytes: maxBytes });
}

/** Throttle time, one broker, cluster id, controller, no topics: a good answer to Metadata. */
const metadata = Buffer.from('000000000002000000010468303100002384000003636300000001010000', 'hex');
const ask = () => link.request(metadataV12.api, [], false, false);

describe('an answer of an impossible length', () => {
  test.each([-5, -1, -(2 ** 31), 0, 3, maxAnswerBytes + 1, 2 ** 31 - 1])(
    '%d bytes: an error, and the next try is answered',
    async (length) => {
      await connectTo(({ n, correlationId }) => frame(correlationId, metadata, n === 0 ? length : undefined));
      const error = await ask().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(BrokerAnswerError);
      expect(String(error)).toContain(
        `broker 127.0.0.1:${broker.port} announced an answer of ${length} bytes`,
      );
      expect(await fetchLayout(link, [])).toMatchObject({ brokers: [{ port: 9092 }] });
    },
  );

  test('behind a good one: the connection is given up, and the next try is answered', async () => {
    await connectTo(({ n, correlationId }) => {
      if (n > 0) return frame(correlationId, metadata);
      return Buffer.concat([frame(correlationId, metadata), frame(7, metadata, -5)]);
    });
    await ask().catch((error: unknown) => expect(error).toBeInstanceOf(BrokerAnswerError));
    expect(await fetchLayout(link, [])).toMatchObject({ brokers: [{ port: 9092 }] });
  });

  test('of two gigabytes: what is sent of it is not kept', async () => {
    const flood = Buffer.alloc(1024 * 1024);
    await connectTo(({ correlationId, socket }) => {
      for (let i = 0; i < 64; i++) socket.write(flood);
      return frame(correlationId, flood, 2 ** 31 - 1);
    }, 1024);
    await expect(ask()).rejects.toThrow(/announced an answer of 0 bytes; possible are 4 to 1024/);
    expect(broker.open).toBeLessThanOrEqual(1);
  });

  test('lengths are found wherever the bytes are cut', () => {
    const lengths = fc.array(fc.integer({ min: 4, max: 50 }), { maxLength: 10 });
    fc.assert(
      fc.property(
        lengths,
        fc.constantFrom(-1, 3, 51),
        fc.array(fc.integer({ min: 1, max: 30 })),
        (good, bad, cuts) => {
          const bytes = Buffer.concat(
            [...good, bad].map((length) => frame(1, Buffer.alloc(Math.max(length - 4, 0)), length)),
          );
          const follower = new AnswerLengths(50);
          const found: (number | undefined)[] = [];
          let at = 0;
          for (const cut of [...cuts, bytes.length]) {
            if (found.at(-1) !== undefined) break;
            found.push(follower.findImpossible(bytes.subarray(at, at + cut)));
            at += cut;
          }
          expect(found.at(-1)).toBe(bad);
        },
      ),
    );
  });
});

describe('an answer that says anything', () => {
  /** Whatever comes, the promise settles and the process lives. */
  async function expectSettled(ask: () => Promise<unknown>): Promise<void> {
    await ask().catch((error: unknown) => expect(error).toBeInstanceOf(Error));
  }

  test('any bytes: the request settles', async () => {
    let body = Buffer.alloc(0);
    await connectTo(({ correlationId }) => frame(correlationId, body));
    const fetch = {
      topicId: '00000000-0000-0000-0000-000000000000',
      partition: 0,
      from: 0,
      maxWaitMs: 0,
      maxBytes: 1,
    };
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(2), async (bytes, kind) => {
        body = Buffer.from(bytes);
        if (kind === 0) await expectSettled(ask);
        else if (kind === 1) await expectSettled(() => link.request(fetchApi, fetch));
        else await expectSettled(() => link.request(produceApi, Buffer.alloc(4)));
      }),
      { numRuns: 300 },
    );
  });

  test('arrays of two billion: an error, at once', async () => {
    const huge = Buffer.from('ffffffff07', 'hex');
    const head = Buffer.from('0000000000', 'hex');
    const bodies = {
      metadata: Buffer.concat([head, huge, Buffer.alloc(100)]),
      topics: Buffer.concat([Buffer.alloc(11), huge, Buffer.alloc(100)]),
      aborted: Buffer.concat([
        Buffer.alloc(11),
        Buffer.of(2),
        Buffer.alloc(16),
        Buffer.of(2),
        Buffer.alloc(30),
        huge,
        Buffer.alloc(100),
      ]),
      // One topic, its empty name, one partition; as many errors of records, each with a message that goes back.
      produce: Buffer.concat([
        Buffer.from('00000001' + '0000' + '00000001' + '00000000' + '0000', 'hex'),
        Buffer.alloc(24),
        Buffer.from('7fffffff', 'hex'),
        Buffer.from('00000000fffa', 'hex'),
      ]),
    };
    let body: Buffer = bodies.metadata;
    await connectTo(({ correlationId }) => frame(correlationId, body));
    await expect(ask()).rejects.toThrow();
    const fetch = {
      topicId: '00000000-0000-0000-0000-000000000000',
      partition: 0,
      from: 0,
      maxWaitMs: 0,
      maxBytes: 1,
    };
    for (const kind of ['topics', 'aborted'] as const) {
      body = bodies[kind];
      await expectSettled(() => link.request(fetchApi, fetch));
    }
    body = bodies.produce;
    await expect(link.request(produceApi, Buffer.alloc(4))).rejects.toThrow(/cut off/);
  });
});
