import { pino } from 'pino';
import { expect, test } from 'vitest';
import { InsertWatch } from '../../../../src/streamer/health/delivery-watch.ts';

const place = (partition: number) => ({ topic: 'events', topicId: 't', partition });

function open() {
  const clock = { steady: 5_000, wall: 9_000_000 };
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
  return { clock, lines, watch: new InsertWatch(log, () => ({ ...clock })) };
}

test('an insert that has no answer for 30 s has not got through, whatever a ping says', () => {
  const { clock, watch, lines } = open();
  watch.began(place(0));
  clock.steady += 29_999;
  watch.report();
  expect(watch.state()).toEqual({ ok: true });
  clock.steady += 1;
  for (let i = 0; i < 3; i++) watch.report();
  expect(watch.state()).toMatchObject({
    ok: false,
    detail: expect.stringContaining('events/0 has not succeeded for 30 s: ClickHouse has not answered yet'),
  });
  expect(watch.oldestSeconds()).toBe(30);
  watch.ended(place(0));
  for (let i = 0; i < 3; i++) watch.report();
  expect([watch.state(), watch.oldestSeconds()]).toEqual([{ ok: true }, 0]);
  expect(lines).toEqual([expect.stringContaining('events/0'), 'inserts succeed again']);
});

test('time on a suspended machine counts', () => {
  const { clock, watch } = open();
  watch.began(place(0));
  clock.wall += 30_000;
  expect(watch.state().ok).toBe(false);
});

test('three failures in a row are no accident; what another partition inserts does not hide them', () => {
  const { clock, watch } = open();
  watch.began(place(0));
  clock.steady += 1_000;
  for (const reason of ['a', 'b']) watch.failed(place(0), reason);
  expect(watch.state().ok).toBe(true);
  watch.failed(place(0), 'c');
  watch.began(place(1));
  watch.ended(place(1));
  expect(watch.state()).toMatchObject({
    detail: expect.stringMatching(/events\/0 has not succeeded for 1 s: 3 tries failed, the last: c\./),
  });
  watch.ended(place(0));
  watch.began(place(0));
  expect(watch.state().ok).toBe(true);
});
