import { describe, expect, it } from 'vitest';
import { EventBatch } from '../../../src/buffer/records.ts';
import { fc } from '../../support/fast-check.ts';

describe('EventBatch', () => {
  it('holds exactly what was added, in order', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 100 }), (values) => {
        const batch = new EventBatch();
        for (const [i, value] of values.entries()) batch.add(value, 1_000 + i);
        expect(batch.count).toBe(values.length);
        expect(valuesOf(batch)).toEqual(values.map((value) => Buffer.from(value)));
        expect(batch.receivedAt).toEqual(values.map((_, i) => 1_000 + i));
        expect(batch.byteLength).toBe(values.reduce((sum, value) => sum + value.length, 0));
      }),
    );
  });

  it('copies: the memory added may be reused', () => {
    const memory = Buffer.from('first');
    const batch = new EventBatch();
    batch.add(memory, 1);
    memory.write('other');
    batch.add(memory, 2);
    expect(valuesOf(batch).map(String)).toEqual(['first', 'other']);
  });

  it('keeps headers of the events that have some', () => {
    const batch = new EventBatch();
    batch.add(Buffer.from('a'), 1);
    batch.add(Buffer.from('b'), 1, [['id', 'x']]);
    expect([...batch.headers]).toEqual([[1, [['id', 'x']]]]);
  });

  it('is as new after clear, and gives back the memory of a burst', () => {
    const batch = new EventBatch();
    batch.add(Buffer.alloc(3 * 1024 * 1024), 1, [['id', 'x']]);
    batch.clear();
    expect(batch.bytes.length).toBeLessThanOrEqual(1024 * 1024);
    expect([batch.count, batch.byteLength, batch.ends, batch.receivedAt, batch.headers.size]).toEqual([
      0,
      0,
      [],
      [],
      0,
    ]);
    batch.add(Buffer.from('b'), 2);
    expect(valuesOf(batch).map(String)).toEqual(['b']);
  });
});

function valuesOf(batch: EventBatch): Buffer[] {
  return batch.ends.map((end, i) => batch.bytes.subarray(i === 0 ? 0 : batch.ends[i - 1], end));
}
