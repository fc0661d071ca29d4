/** A piece of work of known size, to compare CPU times of different machines, or of one that others share. */
import { crc32 } from 'node:zlib';
import { event } from './posts.mjs';

const bytes = Buffer.from(event);
const units = 1_500_000;

/**
 * CPU microseconds that one unit takes now: parsing the classic event, and a checksum of it. Takes about half a second,
 * on one core; the first call of a process takes longer, and its figure is no use.
 */
export function measureKernel() {
  const before = process.cpuUsage();
  // Each sum depends on the one before: nothing can be left out.
  let sum = 0;
  for (let i = 0; i < units; i++) sum = crc32(bytes, (sum + JSON.parse(event).os.length) >>> 0);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / units;
}
