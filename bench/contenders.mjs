/** The collectors that meet in a benchmark: ours on each buffer, and peers. */
import { buildGoPeers, peers, startPeer } from './peers.mjs';
import { findFreePort, MissingError, startMillrace } from './program.mjs';
import { createTopic, partitions } from './site.mjs';

/** Our collector; `start` takes a topic, a data directory, the HTTP server and arguments for Node.js. */
export function createMillrace(buffer, { brokers }) {
  return {
    program: 'millrace',
    buffer,
    async start({ topic, dataDir, server = 'uws', execArgv = [] }) {
      const listen = `127.0.0.1:${await findFreePort()}`;
      const flags = [
        ...['--listen', listen, '--http-server', server, '--log-level', 'warn', '--kafka-topic', topic],
        ...(buffer === 'kafka' ? kafkaFlags(brokers) : ['--buffer', 'embedded', '--data-dir', dataDir]),
      ];
      const { pid, stop } = await startMillrace(['collect', ...flags], { execArgv });
      return { url: `http://${listen}`, pid, stop };
    },
  };
}

function kafkaFlags(brokers) {
  return [
    ...['--buffer', 'kafka', '--kafka-brokers', brokers],
    ...['--kafka-partitions', String(partitions), '--kafka-compression', 'snappy'],
  ];
}

/**
 * Peers by name, built into the directory of the site.
 * @param isAsked whether it is an error when they cannot be built here; else there are none, and `log` hears why
 * @throws MissingError
 */
export async function createPeers(names, { dir, brokers }, { isAsked, log }) {
  const built = await buildGoPeers(dir).catch((error) => {
    if (isAsked || !(error instanceof MissingError)) throw error;
    log(`no peers: ${error.message}`);
  });
  if (built === undefined) return { version: undefined, contenders: [] };
  const contenders = names.map((name) => ({
    program: name,
    buffer: 'kafka',
    async start({ topic }) {
      await createTopic(brokers, topic);
      const listen = `127.0.0.1:${await findFreePort()}`;
      const { flags, env } = peers[name];
      const { pid, stop } = await startPeer(built.binary, { flags, env, listen, brokers, topic });
      return { url: `http://${listen}`, pid, stop };
    },
  }));
  return { version: built.version, contenders };
}
