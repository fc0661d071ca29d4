import { describe, expect, test } from 'vitest';
import { isHeld, judgeSlo, parseSlo, type SloFigures, withErrorLimit } from '../../../src/bench/slo.ts';

const figures: SloFigures = {
  latencyMs: { p50: 1.2345, p90: 5, p99: 100, 'p99.9': 250, max: 800 },
  errors: 0.004,
  lost: 0,
};
const judge = (text: string, changed: Partial<SloFigures> = {}) =>
  judgeSlo(parseSlo(text), { ...figures, ...changed });

describe('parseSlo', () => {
  test('reads every kind of term', () => {
    expect(parseSlo('p99<100ms, loss=0,errors < 0.5%,p99.9<1.5s,p50<800us,max<1m')).toEqual([
      { text: 'p99<100ms', kind: 'latency', quantile: 'p99', belowMs: 100 },
      { text: 'loss=0', kind: 'loss' },
      { text: 'errors<0.5%', kind: 'errors', below: 0.005 },
      { text: 'p99.9<1.5s', kind: 'latency', quantile: 'p99.9', belowMs: 1_500 },
      { text: 'p50<800us', kind: 'latency', quantile: 'p50', belowMs: 0.8 },
      { text: 'max<1m', kind: 'latency', quantile: 'max', belowMs: 60_000 },
    ]);
  });

  test.each(['', 'p99', 'p99<100', 'p98<100ms', 'p99>100ms', 'loss=1', 'errors<1', 'p99<100ms,', 'p99<-1ms'])(
    'refuses %o, naming it',
    (text) => {
      expect(() => parseSlo(text)).toThrow(
        expect.objectContaining({
          exitCode: 78,
          message: expect.stringMatching(/--slo does not know '.*p99</),
        }),
      );
    },
  );

  test('adds a limit for errors where there is none', () => {
    expect(withErrorLimit(parseSlo('loss=0')).map(({ text }) => text)).toEqual(['loss=0', 'errors<0.1%']);
    expect(withErrorLimit(parseSlo('errors<5%')).map(({ text }) => text)).toEqual(['errors<5%']);
  });
});

describe('judgeSlo', () => {
  test('a limit is not reached, but missed, by its own value', () => {
    expect(judge('p99<100ms')).toEqual([{ text: 'p99<100ms', value: 'p99 100 ms', holds: false }]);
    expect(judge('p99<100.1ms,p50<1.3ms').map(({ holds }) => holds)).toEqual([true, true]);
  });

  test('errors and loss', () => {
    expect(judge('errors<0.4%,errors<0.5%').map(({ holds }) => holds)).toEqual([false, true]);
    expect(judge('loss=0')).toEqual([{ text: 'loss=0', value: 'loss 0', holds: true }]);
    expect(judge('loss=0', { lost: 2 })).toEqual([{ text: 'loss=0', value: 'loss 2', holds: false }]);
  });

  test('what is not known does not hold', () => {
    const none = { p50: null, p90: null, p99: null, 'p99.9': null, max: null };
    expect(judge('loss=0', { lost: undefined })).toEqual([
      { text: 'loss=0', value: 'loss not known', holds: false },
    ]);
    expect(judge('p99<100ms', { latencyMs: none })).toEqual([
      { text: 'p99<100ms', value: 'no answers', holds: false },
    ]);
  });

  test('all terms must hold', () => {
    expect(isHeld(judge('p50<2ms,loss=0'))).toBe(true);
    expect(isHeld(judge('p50<2ms,max<800ms'))).toBe(false);
  });
});
