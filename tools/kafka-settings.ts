/** What every way of starting the development broker shares: the version and the settings of the node. */

/** Apache Kafka version of the development broker; another one only to test Millrace with it. */
export const kafkaVersion = process.env.MILLRACE_KAFKA_VERSION ?? '4.1.0';

/**
 * Settings of a single KRaft node (broker and controller in one) for development and tests, as
 * `server.properties` keys. Nothing here suits production: there is one replica of everything.
 */
export function nodeSettings(address: {
  /** Host that listeners bind to. */
  bind: string;
  port: number;
  /** Port that clients are told. */
  advertisedPort: number;
  /** Port of the controller listener. */
  controllerPort: number;
  logDir: string;
}): Record<string, string> {
  const { bind, port, advertisedPort, controllerPort, logDir } = address;
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://${bind}:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${advertisedPort}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': logDir,
    // A misspelt topic must fail, not appear.
    'auto.create.topics.enable': 'false',
    'num.partitions': '4',
    'offsets.topic.replication.factor': '1',
    // The default of 50 partitions only makes a single node start slowly.
    'offsets.topic.num.partitions': '8',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    // Default 3 s: consumers of a new group would wait that long for company.
    'group.initial.rebalance.delay.ms': '0',
    // A killed broker can come back sooner: until then the controller takes it for the old one.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    // Lets tests see a lost member after a second instead of 6.
    'group.min.session.timeout.ms': '1000',
    // Retention and topic deletion take effect in seconds, so that both can be tested.
    'log.retention.check.interval.ms': '2000',
    'log.segment.delete.delay.ms': '1000',
    'num.network.threads': '2',
    'num.io.threads': '4',
    'log.cleaner.dedupe.buffer.size': '8388608',
  };
}
