import { describe, expect, it } from 'vitest';
import { EngineError, exceptionText, httpStatusOf, toEngineError } from '../../../src/engine/error.ts';
import { Gate } from '../../../src/engine/running.ts';
import { type Scope, scopeStatements } from '../../../src/engine/scope.ts';

describe('exceptions', () => {
  it.each([
    [
      "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'a'. (UNKNOWN_SETTING) (version 26.7.2.1). (UNKNOWN_SETTING)",
      "Code: 115. DB::Exception: Unknown setting 'a'. (UNKNOWN_SETTING) (version 1 (embedded))\n",
      404,
    ],
    [
      'Code: 62. DB::Exception: Syntax error (line 1): (a). (SYNTAX_ERROR)',
      'Code: 62. DB::Exception: Syntax error (line 1): (a). (SYNTAX_ERROR) (version 1 (embedded))\n',
      400,
    ],
    ['boom', 'Code: 1001. DB::Exception: boom. (STD_EXCEPTION) (version 1 (embedded))\n', 500],
  ])('%s', (message, text, status) => {
    const error = toEngineError(new Error(message));
    expect(exceptionText(error, '1')).toBe(text);
    expect(httpStatusOf(error)).toBe(status);
  });
});

describe('a long message', () => {
  it.each(['.', ' ', '(ABC)', '(version 1)', 'Code: 1. DB::Exception: '])('of %j is read at once', (part) => {
    const error = toEngineError(
      new Error(`Code: 395. DB::Exception: ${part.repeat(1_000_000)}x (FUNCTION_THROW)`),
    );
    expect(error.code).toBe(part.startsWith('Code') ? 1 : 395);
    expect(error.type).toBe('FUNCTION_THROW');
    expect(error.message.length).toBeLessThan(10_000);
  });
});

describe('the gate', () => {
  it('keeps a slot for writes, bounds what runs, and refuses what cannot wait', async () => {
    const gate = new Gate({ slots: { reader: 1, read: 1, change: 1, write: 2, control: 3 }, queue: 1 });
    const ends: Array<() => void> = [];
    const started: string[] = [];
    const call = (name: string, kind: 'read' | 'write') =>
      gate.run(kind, async () => {
        started.push(name);
        await new Promise<void>((end) => ends.push(end));
      });
    const calls = [call('r1', 'read'), call('r2', 'read'), call('w1', 'write'), call('w2', 'write')];
    expect(started).toEqual(['r1', 'w1']);
    await expect(call('r3', 'read')).rejects.toMatchObject({ code: 202 });
    ends[1]?.();
    await calls[2];
    await Promise.resolve();
    expect(started).toEqual(['r1', 'w1', 'w2']);
    ends[0]?.();
    await calls[0];
    await Promise.resolve();
    expect(started).toEqual(['r1', 'w1', 'w2', 'r2']);
    for (const end of ends) end();
    await Promise.all(calls);
  });

  it('keeps nothing waiting that whoever asked has left, or that has waited too long', async () => {
    const gate = new Gate({ slots: { reader: 1, read: 1, change: 1, write: 1, control: 2 }, queue: 9 });
    let end = () => {};
    const running = gate.run('read', () => new Promise<void>((resolve) => (end = resolve)));
    const gone = new AbortController();
    const left = gate.run('reader', async () => 'ran', { signal: gone.signal });
    const late = gate.run('change', async () => 'ran', { waitMs: 1 });
    const patient = gate.run('write', async () => 'ran', { waitMs: 60_000 });
    gone.abort();
    await expect(left).rejects.toMatchObject({ code: 210 });
    await expect(late).rejects.toMatchObject({ code: 202, status: 503 });
    await expect(gate.run('control', async () => 'ran')).resolves.toBe('ran');
    end();
    await running;
    await expect(patient).resolves.toBe('ran');
  });

  it('goes on after a call that failed', async () => {
    const gate = new Gate({ slots: { reader: 1, read: 1, change: 1, write: 1, control: 1 }, queue: 1 });
    const failed = gate.run('write', () => Promise.reject(new EngineError(1, 'X', 'x')));
    const next = gate.run('write', async () => 'ok');
    await expect(failed).rejects.toThrow('x');
    await expect(next).resolves.toBe('ok');
  });
});

describe('the scope of a request', () => {
  const none: Scope = {
    role: 'owner',
    database: undefined,
    settings: new Map(),
    params: new Map(),
    readonly: false,
    queryId: '',
  };

  it('costs nothing when there is nothing to set', () => {
    expect(scopeStatements(none)).toBe('');
  });

  it('quotes what it is given, and forbids writing last', () => {
    const settings = new Map([
      ['readonly', '0'],
      ['max_threads', "1', x='"],
    ]);
    const scope: Scope = {
      ...none,
      database: 'a`b',
      settings,
      params: new Map([['p', "\\N'"]]),
      readonly: true,
    };
    expect(scopeStatements(scope)).toBe(
      "USE `a\\`b`; SET max_threads = '1\\', x=\\'', param_p = '\\\\N\\''; SET readonly = 2",
    );
  });

  it('carries what the query is found by', () => {
    expect(scopeStatements(none, "owner 1 it's")).toBe("SET chdb_client_name = 'owner 1 it\\'s'");
  });

  it('gives up the rights of the owner before anything else, for a reader', () => {
    const settings = new Map([['max_threads', '1']]);
    expect(scopeStatements({ ...none, role: 'reader', database: 'd', settings })).toMatch(
      /^SET ROLE millrace_reader; USE `d`; SET max_memory_usage = \d+, max_execution_time = 60, max_threads = '1'; SET readonly = 2$/,
    );
  });

  it.each(['00', '+0', '-0', ' 0', '0.0', '0x0', '3', 'false', ''])('takes no readonly of %j', (value) => {
    expect(() => scopeStatements({ ...none, settings: new Map([['readonly', value]]) })).toThrow('readonly');
  });

  it('refuses names that would be SQL', () => {
    expect(() => scopeStatements({ ...none, settings: new Map([['a=1;x', '1']]) })).toThrow(
      'Unknown setting',
    );
    expect(() => scopeStatements({ ...none, params: new Map([['a=1;x', '1']]) })).toThrow('Invalid name');
  });
});
