/** A process that holds a read snapshot of the LMDB environment in its argument until it is killed. */
import { open } from 'lmdb';

const root = open({ path: process.argv[2], noSubdir: false, overlappingSync: false, mapSize: 0 });
root.useReadTransaction();
root.getKeysCount();
process.stdout.write('holding\n');
setInterval(() => undefined, 1_000);
