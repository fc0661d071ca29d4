/** Runs one query of the HTTP interface, from its body to its result. */
import type { IncomingMessage } from 'node:http';
import type { WriteOutcome } from './binding.ts';
import { Body } from './body.ts';
import type { Engine } from './engine.ts';
import { EngineError, toEngineError } from './error.ts';
import type { InsertWithData } from './insert.ts';
import type { QueryParameters } from './parameters.ts';
import { chooseCoding, type Reply } from './response.ts';
import { quoteLiteral, type Scope } from './scope.ts';
import type { Spool } from './spool.ts';
import { checkExpressions, type PlainStatement, parseStatement } from './statement.ts';

/** Most bytes of a body, compressed and decompressed each. The data of an INSERT goes to a file, not to memory. */
const maxBodyBytes = 256 * 1024 ** 2;
/** Most bytes of a statement without the data of an INSERT; it must fit into memory. */
const maxStatementBytes = 16 * 1024 ** 2;
/** Where an INSERT must have come to its data: ClickHouse's own `max_query_size`. */
const maxHeadBytes = 256 * 1024;
/** Most bytes of a result that is not streamed; a request may set `max_result_bytes` itself. */
const maxResultBytes = 1024 ** 3;

/** What running queries takes. */
export interface QueryContext {
  readonly engine: Engine;
  readonly spool: Spool;
}

/** Runs the query of a request and sends its result. */
export async function runQuery(
  context: QueryContext,
  request: IncomingMessage,
  parameters: QueryParameters,
  reply: Reply,
): Promise<void> {
  if (/^multipart\//i.test(request.headers['content-type'] ?? '')) {
    throw new EngineError(48, 'NOT_IMPLEMENTED', 'External data (multipart/form-data) is not supported');
  }
  const body = new Body(request, maxBodyBytes);
  const head = await readHead(body, parameters.query);
  let text = head.text;
  let statement = parseStatement(text.toString('latin1'));
  if (statement.kind === 'insert-data') {
    body.pushBack(text.subarray(statement.dataAt));
    await insertData(context, { text, isWhole: head.isWhole, statement, body, parameters }, reply);
    return;
  }
  if (!head.isWhole) {
    text = Buffer.concat([text, await readRest(body)]);
    statement = parseStatement(text.toString('latin1'));
    if (statement.kind === 'insert-data') {
      throw new EngineError(
        62,
        'SYNTAX_ERROR',
        `The data of an INSERT must begin within ${maxHeadBytes} bytes`,
      );
    }
  }
  await runStatement(context, { sql: text.toString('utf8'), statement, parameters, request }, reply);
}

/** The statement: the `query` parameter and a line break, if there is one, and then the body. */
async function readHead(body: Body, query: string): Promise<{ text: Buffer; isWhole: boolean }> {
  const { data, isWhole } = await body.read(maxHeadBytes);
  const parts = query === '' ? [data] : [Buffer.from(query), Buffer.from('\n'), data];
  return { text: Buffer.concat(parts), isWhole };
}

async function readRest(body: Body): Promise<Buffer> {
  const { data, isWhole } = await body.read(maxStatementBytes);
  if (!isWhole) {
    throw new EngineError(
      229,
      'QUERY_IS_TOO_LARGE',
      `The statement is larger than ${maxStatementBytes} bytes`,
      413,
    );
  }
  return data;
}

interface Insert {
  /** The beginning of the request: the statement, and some of the data. */
  readonly text: Buffer;
  /** All of the data is in `text`. */
  readonly isWhole: boolean;
  readonly statement: InsertWithData;
  readonly body: Body;
  readonly parameters: QueryParameters;
}

/**
 * Inserts the data that follows a statement. It goes through a file, and the engine reads it with FROM INFILE.
 * Behind the statement, where chDB itself puts it, the engine would take it for the text of a script: it
 * trims the end, stops at a blank line, and executes what comes after. A file is safe for any byte, holds
 * memory down, and costs less: 3.5 µs against 4.2 µs of CPU for a row of 200 bytes of JSON.
 */
async function insertData(context: QueryContext, insert: Insert, reply: Reply): Promise<void> {
  const { text, statement, body, parameters } = insert;
  const part = (from: number, to: number) => text.subarray(from, to).toString('utf8');
  const target = part(0, statement.sourceAt);
  const settings = part(statement.sourceAt, statement.settingsEnd) + statement.trailingSettings;
  const scope = isValues(statement) ? checkedValues(insert) : parameters.scope;
  const outcome = await context.spool.with(body, async (path) => {
    const source = `FROM INFILE ${quoteLiteral(path)} COMPRESSION 'none'`;
    const sql = `${target} ${source} ${settings} FORMAT ${statement.format}`;
    return context.engine.write(sql, scope).catch((thrown) => {
      throw withoutFile(toEngineError(thrown), path);
    });
  });
  await sendWritten(outcome, reply);
}

async function sendWritten(outcome: WriteOutcome, reply: Reply): Promise<void> {
  const { rowsWritten, bytesWritten, elapsed } = outcome;
  // What was written was read before, and counts as such in a ClickHouse server.
  const read = { readRows: rowsWritten, readBytes: bytesWritten };
  const written = { writtenRows: rowsWritten, writtenBytes: bytesWritten };
  await reply.send(Buffer.alloc(0), { ...read, ...written, elapsed }, undefined);
}

function isValues(statement: InsertWithData): boolean {
  return statement.format.toUpperCase() === 'VALUES';
}

/** Values may be expressions. Those in a body too large to look through must be literals. */
function checkedValues({ text, isWhole, statement, parameters }: Insert): Scope {
  const { scope } = parameters;
  if (isWhole) {
    checkExpressions(text.toString('latin1', statement.dataAt));
    return scope;
  }
  return {
    ...scope,
    settings: new Map([...scope.settings, ['input_format_values_interpret_expressions', '0']]),
  };
}

/** The file is nothing that the client knows of. */
function withoutFile(error: EngineError, path: string): EngineError {
  const message = error.message
    .replaceAll(`: (in file/uri ${path})`, '')
    .replace(': While executing File: data for INSERT was parsed from file', '');
  return new EngineError(error.code, error.type, message, error.status);
}

interface Plain {
  readonly sql: string;
  readonly statement: PlainStatement;
  readonly parameters: QueryParameters;
  readonly request: IncomingMessage;
}

async function runStatement({ engine }: QueryContext, plain: Plain, reply: Reply): Promise<void> {
  const { sql, statement, parameters, request } = plain;
  if (statement.kind === 'insert') {
    await sendWritten(await engine.write(sql, parameters.scope), reply);
    return;
  }
  const format = statement.format ?? parameters.defaultFormat;
  const coding = parameters.allowCompression ? chooseCoding(request) : undefined;
  reply.setFormat(format);
  if (isStreamed(statement, format, parameters)) {
    await reply.stream(engine.stream(sql, format, parameters.scope), coding);
    return;
  }
  const outcome = await engine.read(sql, format, limited(parameters.scope));
  const { bytes, rowsRead, bytesRead, elapsed } = outcome;
  await reply.send(bytes, { readRows: rowsRead, readBytes: bytesRead, elapsed }, coding);
}

/** Formats whose result is the sum of the results of its blocks. */
const blockFormats =
  /^(TSV|TabSeparated|TSVRaw|TabSeparatedRaw|CSV|TSKV|LineAsString|RowBinary|Native|JSONLines|NDJSON|JSON(Compact)?(Strings)?EachRow)$/i;

function isStreamed(statement: PlainStatement, format: string, parameters: QueryParameters): boolean {
  const { settings } = parameters.scope;
  return (
    statement.kind === 'select' &&
    statement.isStreamable &&
    blockFormats.test(format) &&
    !parameters.waitEndOfQuery &&
    !settings.has('extremes') &&
    !settings.has('output_format_json_array_of_rows')
  );
}

/** A result that is not streamed is held in memory, twice: bounded, unless the request says otherwise. */
function limited(scope: Scope): Scope {
  const settings = new Map([['max_result_bytes', String(maxResultBytes)], ...scope.settings]);
  return { ...scope, settings };
}
