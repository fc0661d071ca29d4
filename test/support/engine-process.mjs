/** The embedded ClickHouse in a process of its own, for tests. Arguments: dataDir, port, password. */
import { pino } from 'pino';
import { startEngine } from '../../dist/engine/server.js';

const [dataDir, port, password] = process.argv.slice(2);
const log = pino({ level: 'warn' }, pino.destination(2));
try {
  const options = { dataDir, host: '127.0.0.1', port: Number(port), user: 'default', password, log };
  const engine = await startEngine(options);
  const stop = () => void engine.close().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('disconnect', stop);
  process.send?.({ type: 'ready', url: engine.url });
} catch (error) {
  process.send?.({ type: 'failed', message: error.message, exitCode: error.exitCode });
  process.disconnect?.();
}
