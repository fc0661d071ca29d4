import { describe, expect, test } from 'vitest';
import { ClickHouseError } from '../../../../src/clickhouse/errors.ts';
import { encodeDeadLetters } from '../../../../src/clickhouse/rows/dead-letter.ts';
import { findRefusedRows, type RowProbe } from '../../../../src/clickhouse/rows/refused-rows.ts';
import { deadLettersOf } from '../../../../src/streamer/inserts/insert-block.ts';
import { fc } from '../../../support/fast-check.ts';
import { sealedOf, testIdentity } from '../../../support/sealed-batch.ts';

const refusal = new ClickHouseError(117, 'bad');

/** A server that refuses what holds `BAD`; `name` says which values its cast cannot read. */
function createProbe(name: (value: string, position: number) => boolean | undefined) {
  const counts = { dryRuns: 0 };
  const probe: RowProbe = {
    async dryRun(rows, indexes) {
      counts.dryRuns++;
      return indexes.some((index) => rows.record(index).raw.includes('BAD')) ? refusal : undefined;
    },
    async findUnreadable(values) {
      const named = values.map((value, position) => name(Buffer.from(value).toString(), position));
      if (named.includes(undefined)) return undefined;
      return named.flatMap((isNamed, position) => (isNamed === true ? [position] : []));
    },
  };
  return { probe, counts };
}

const isBad = (value: string) => value.startsWith('BAD');
const batchOf = (bad: readonly boolean[]) => sealedOf(bad.map((is, i) => (is ? `BAD${i}` : `good${i}`)));
const allOf = (bad: readonly unknown[]) => bad.map((_, index) => index);
const whereTrue = (bad: readonly boolean[]) => bad.flatMap((is, index) => (is ? [index] : []));

describe('refused rows are found exactly', () => {
  const bools = fc.array(fc.boolean(), { minLength: 1, maxLength: 60 });

  test.each<[string, (value: string, position: number) => boolean | undefined]>([
    ['when the cast knows them', isBad],
    ['when the cast names others, too', () => true],
    ['when the cast names some of them', (value, position) => isBad(value) && position % 3 === 0],
    ['when the cast names none', () => false],
    ['when the cast names the wrong ones', (value) => !isBad(value)],
    ['when ClickHouse cannot tell', () => undefined],
  ])('%s', async (_, name) => {
    await fc.assert(
      fc.asyncProperty(bools, async (bad) => {
        const found = await findRefusedRows(batchOf(bad).rows, allOf(bad), createProbe(name).probe);
        expect(found.map(({ index }) => index)).toEqual(whereTrue(bad));
      }),
    );
  });

  test('among those asked about only', async () => {
    await fc.assert(
      fc.asyncProperty(bools, fc.func(fc.boolean()), async (bad, isAsked) => {
        const rows = allOf(bad).filter((index) => isAsked(index));
        const found = await findRefusedRows(batchOf(bad).rows, rows, createProbe(isBad).probe);
        expect(found.map(({ index }) => index)).toEqual(rows.filter((index) => bad[index]));
      }),
    );
  });

  test('also among more suspects than get a dry run of their own', async () => {
    const bad = Array.from({ length: 1_000 }, (_, i) => i % 2 === 0);
    const { probe, counts } = createProbe(isBad);
    const found = await findRefusedRows(batchOf(bad).rows, allOf(bad), probe);
    expect(found.map(({ index }) => index)).toEqual(whereTrue(bad));
    // A batch full of bad events must not hold up all others by a dry run for each.
    expect(counts.dryRuns).toBeLessThan(200);
  });

  test('also when the cast names more good rows than get a dry run of their own', async () => {
    const bad = Array.from({ length: 1_000 }, (_, i) => i === 500);
    const { probe } = createProbe(() => true);
    const found = await findRefusedRows(batchOf(bad).rows, allOf(bad), probe);
    expect(found.map(({ index }) => index)).toEqual([500]);
  });
});

test('dead letters are the same each time, since a repeat must be recognised, and hold the raw bytes', () => {
  const raw = Buffer.from([0xff, 0, 0x80, 0x0a]);
  const batch = sealedOf([raw, 'good'], { offset: 7 });
  const encode = () =>
    encodeDeadLetters(deadLettersOf(batch, [{ index: 0, error: refusal }], testIdentity), 0);
  expect(encode()).toEqual(encode());
  expect(encode().subarray(-5)).toEqual(Buffer.concat([Buffer.from([4]), raw]));
  expect(batch.rows.record(0).raw.equals(raw)).toBe(true);
});
