/** The embedded ClickHouse in a process of its own, for tests. Arguments: dataDir, port, and JSON: accounts, hosts, origins, stalledBodyMs. */
import { pino } from 'pino';
import { prepareFiles } from '../../dist/engine/access.js';
import { startEngine } from '../../dist/engine/server.js';

const [dataDir, port, json] = process.argv.slice(2);
const log = pino({ level: 'warn' }, pino.destination(2));
try {
  const { accounts, databases = [], hosts = [], origins = [], stalledBodyMs } = JSON.parse(json);
  const files = await prepareFiles(dataDir, databases);
  const where = { files, host: '127.0.0.1', port: Number(port) };
  const options = { ...where, accounts, hosts, origins, stalledBodyMs, log };
  const engine = await startEngine(options);
  const stop = () => void engine.close().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('disconnect', stop);
  process.send?.({ type: 'ready', url: engine.url });
} catch (error) {
  process.send?.({ type: 'failed', message: error.message, exitCode: error.exitCode });
  process.disconnect?.();
}
