/**
 * A process that appends to an embedded log and prints each acknowledgement as `partition base count seq`.
 * Its argument is JSON: the options of the writer, `name`, `size` of a batch, `batches` (0: until it is killed).
 */
import { writeSync } from 'node:fs';
import { openEmbeddedWriter } from '../../dist/buffer/embedded/writer.js';
import { EventBatch } from '../../dist/buffer/records.js';

const { name, size, batches, ...options } = JSON.parse(process.argv[2]);
const writer = await openEmbeddedWriter(options);
let started = 0;

async function appendTo(partition) {
  const batch = new EventBatch();
  while (batches === 0 || started < batches) {
    const seq = started++;
    batch.clear();
    for (let i = 0; i < size; i++) batch.add(Buffer.from(`${name}:${seq}:${i}`), Date.now());
    const base = await writer.append(partition, batch);
    writeSync(1, `${partition} ${base} ${size} ${seq}\n`);
  }
}

await Promise.all(Array.from({ length: writer.partitions }, (_, partition) => appendTo(partition)));
await writer.close();
