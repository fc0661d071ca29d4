/** A schema that lets events pass which ClickHouse refuses: dead letters need one, since the default set-up makes none. */
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const bundled = fileURLToPath(new URL('../../schemas/event.json', import.meta.url));

/** The file: the bundled schema, and a property `narrow` of which the collector takes anything and the table UInt8. */
export const narrowSchema = join(tmpdir(), `millrace-narrow-${process.pid}.json`);
const schema = JSON.parse(readFileSync(bundled, 'utf8'));
schema.properties.narrow = { column: 'Nullable(UInt8)' };
writeFileSync(narrowSchema, JSON.stringify(schema));

/** Members of an event, each of which makes a dead letter of it. */
export const refusedMembers = [
  '"narrow":256',
  '"narrow":-1',
  '"narrow":"abc"',
  '"narrow":{"a":1}',
  '"narrow":[1]',
];
