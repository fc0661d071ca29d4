import type { Logger } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FailureLog, readRequestId } from '../../../src/collector/failure-log.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function createLog() {
  const lines: { fields: Record<string, unknown>; text: string }[] = [];
  const warn = (fields: Record<string, unknown>, text: string) => lines.push({ fields, text });
  return { lines, failures: new FailureLog({ warn } as unknown as Logger) };
}

const problem = { code: 'BUFFER_UNAVAILABLE', detail: 'Kafka is away' } as const;

test('a line and the answer share an id', () => {
  const { lines, failures } = createLog();
  const made = failures.note(problem);
  expect(made).toMatch(/^[\da-f-]{36}$/);
  expect(failures.note(problem, { requestId: 'from-proxy', traceId: 't' })).toBe('from-proxy');
  expect(lines).toEqual([
    {
      fields: { request_id: made, code: 'BUFFER_UNAVAILABLE' },
      text: 'answered 503 BUFFER_UNAVAILABLE: Kafka is away',
    },
    {
      fields: { request_id: 'from-proxy', trace_id: 't', code: 'BUFFER_UNAVAILABLE' },
      text: expect.any(String),
    },
  ]);
});

test('many lines become one, and their answers have no id', () => {
  const { lines, failures } = createLog();
  const ids = Array.from({ length: 5_000 }, () => failures.note(problem));
  expect(ids.filter((id) => id !== undefined)).toHaveLength(10);
  failures.note({ code: 'STOPPING', detail: '' });
  vi.advanceTimersByTime(1_000);
  expect(lines).toHaveLength(11);
  expect(lines[10]).toEqual({
    fields: { requests: 4_991, codes: { BUFFER_UNAVAILABLE: 4_990, STOPPING: 1 } },
    text: '4991 more requests failed within a second',
  });
  expect(failures.note(problem)).toBeDefined();
  vi.advanceTimersByTime(5_000);
  expect(lines).toHaveLength(12);
});

test.each([
  ['7f2a-01/abc', true],
  ['a'.repeat(128), true],
  ['a'.repeat(129), false],
  ['', false],
  ['line\nbreak', false],
  ['with space', false],
  ['"quoted"', false],
  ['naïve', false],
])('X-Request-Id %j can be used: %s', (id, isUsable) => {
  expect(readRequestId({ getHeader: (name) => (name === 'x-request-id' ? id : '') })).toBe(
    isUsable ? id : undefined,
  );
});
