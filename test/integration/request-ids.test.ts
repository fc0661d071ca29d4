/** A post that fails: the id in its answer is the one in the log, whichever HTTP server answers. */
import { expect, test } from 'vitest';
import { freePorts, post, startProgram, temporaryDirectory } from '../support/program.ts';

interface Line {
  readonly level: string;
  readonly request_id?: string;
  readonly code?: string;
}

test.each(['auto', 'node'])('while Kafka is away, http-server %s', async (kind) => {
  const directory = temporaryDirectory();
  const [listen, kafka] = (await freePorts(2)) as [number, number];
  const program = await startProgram([
    ...['collect', '--listen', `127.0.0.1:${listen}`, '--http-server', kind, '--data-dir', directory.path],
    ...['--buffer', 'kafka', '--kafka-brokers', `127.0.0.1:${kafka}`],
  ]);
  try {
    const ids = ['from-a-proxy', 'with"quotes', undefined];
    const found: (string | undefined)[] = [];
    for (const id of ids) {
      const headers: Record<string, string> = id === undefined ? {} : { 'x-request-id': id };
      const answer = await post(`http://127.0.0.1:${listen}`, { event: 'a' }, headers);
      const { code, instance } = (await answer.json()) as { code: string; instance: string };
      expect([answer.status, code]).toEqual([503, 'BUFFER_UNAVAILABLE']);
      expect(instance).toMatch(/^urn:millrace:request:[\w-]+$/);
      found.push(instance.split(':').at(-1));
    }
    expect(found[0]).toBe('from-a-proxy');
    expect(new Set(found).size).toBe(3);
    await program.stop();
    const lines = program.output.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
    const failed = lines.filter(({ code }) => code === 'BUFFER_UNAVAILABLE');
    expect(failed.map(({ request_id }) => request_id)).toEqual(found);
    expect(failed.every(({ level }) => level === 'warn')).toBe(true);
  } finally {
    await program.kill();
    directory.remove();
  }
});
