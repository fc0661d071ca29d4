/** What Prometheus makes of the targets that Consul and Kubernetes name: promtool discovers them, from here. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { CheckError, runTool } from '../check.mjs';
import { listen } from '../network.mjs';

const directory = 'docker/prometheus';

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'prometheus discovery by Consul',
    tools: ['promtool-full'],
    heavy: true,
    run: checkConsul,
    mistakes: [
      {
        file: `${directory}/prometheus.consul.yml`,
        find: 'regex: millrace-collector|',
        replace: 'regex: millrace-colector|',
        says: /millrace-collector at 10\.0\.0\.1:8080/,
      },
      {
        file: `${directory}/prometheus.consul.yml`,
        find: 'metadata_metrics_port',
        replace: 'metadata_metric_port',
        says: /haproxy at 10\.0\.0\.9:8405/,
      },
      {
        file: `${directory}/prometheus.consul.yml`,
        find: 'tags: [metrics]',
        replace: 'tag: [metrics]',
        says: /field tag/,
      },
    ],
  },
  {
    name: 'prometheus discovery on Kubernetes',
    tools: ['promtool-full'],
    heavy: true,
    run: checkKubernetes,
    mistakes: [
      {
        file: `${directory}/prometheus.kubernetes.yml`,
        find: 'action: keepequal',
        replace: 'action: dropequal',
        says: /millrace-collector at 10\.1\.0\.1:8080/,
      },
      {
        file: `${directory}/prometheus.kubernetes.yml`,
        find: "regex: 'true', action: keep",
        replace: "regex: 'true|', action: keep",
        says: /left out/,
      },
      {
        file: `${directory}/prometheus.kubernetes.yml`,
        find: 'kubernetes_sd_configs: [{ role: pod,',
        replace: 'kubernetes_sd_configs: [{ role: pods,',
        says: /role/,
      },
    ],
  },
];

/** Name, address of the service or of its node, port, meta data. */
const services = [
  {
    name: 'millrace-collector',
    node: '10.0.0.1',
    port: 8080,
    expect: 'millrace-collector at 10.0.0.1:8080/metrics',
  },
  {
    name: 'millrace-streamer',
    node: '10.0.0.2',
    address: '172.16.0.2',
    port: 8081,
    expect: 'millrace-streamer at 172.16.0.2:8081/metrics',
  },
  {
    name: 'haproxy',
    node: '10.0.0.9',
    port: 8443,
    meta: { metrics_port: '8405' },
    expect: 'haproxy at 10.0.0.9:8405/metrics',
  },
  { name: 'postgres', node: '10.0.0.7', port: 5432 },
];

async function checkConsul({ root, scratch }) {
  const answers = {
    '/v1/agent/self': { Config: { Datacenter: 'dc1' } },
    '/v1/catalog/services': Object.fromEntries(services.map(({ name }) => [name, ['metrics']])),
    ...Object.fromEntries(
      services.map(({ name, node, address = '', port, meta = {} }) => [
        `/v1/health/service/${name}`,
        [
          {
            Node: { Node: `host-${node}`, Address: node, Datacenter: 'dc1' },
            Service: { ID: name, Service: name, Tags: ['metrics'], Address: address, Port: port, Meta: meta },
            Checks: [],
          },
        ],
      ]),
    ),
  };
  const path = join(root, directory, 'prometheus.consul.yml');
  const found = await discover(answers, (host) => {
    const text = readFileSync(path, 'utf8').replaceAll('localhost:8500', host);
    return write(scratch, text, 'consul');
  });
  return compare(found, services);
}

const metrics = { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8080' };
const pods = [
  {
    name: 'collector-0',
    labels: { 'app.kubernetes.io/name': 'millrace', 'app.kubernetes.io/component': 'collector' },
    annotations: metrics,
    ip: '10.1.0.1',
    ports: [8080, 9229],
    expect: 'millrace-collector at 10.1.0.1:8080/metrics',
  },
  {
    name: 'kafka-exporter-0',
    labels: { 'app.kubernetes.io/name': 'kafka' },
    annotations: { ...metrics, 'prometheus.io/path': '/prom' },
    ip: '10.1.0.2',
    ports: [8080],
    expect: 'kafka at 10.1.0.2:8080/prom',
  },
  {
    name: 'something-else',
    labels: {},
    annotations: { 'prometheus.io/port': '80' },
    ip: '10.1.0.3',
    ports: [80],
  },
  {
    name: 'migration-done',
    labels: { 'app.kubernetes.io/name': 'kafka' },
    annotations: metrics,
    ip: '10.1.0.4',
    ports: [8080],
    phase: 'Succeeded',
  },
];

async function checkKubernetes({ root, scratch }) {
  const items = pods.map(({ name, labels, annotations, ip, ports, phase = 'Running' }) => ({
    metadata: { name, namespace: 'millrace', uid: name, labels, annotations, resourceVersion: '1' },
    spec: {
      nodeName: 'node-1',
      containers: [{ name, ports: ports.map((containerPort) => ({ containerPort })) }],
    },
    status: { phase, podIP: ip, hostIP: '10.0.0.1', conditions: [{ type: 'Ready', status: 'True' }] },
  }));
  const list = { kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '1' }, items };
  const path = join(root, directory, 'prometheus.kubernetes.yml');
  const found = await discover({ '/api/v1/namespaces/millrace/pods': list }, (host) => {
    const text = readFileSync(path, 'utf8').replaceAll(
      'role: pod, namespaces: { own_namespace: true }',
      `role: pod, api_server: 'http://${host}', namespaces: { names: [millrace] }`,
    );
    return write(scratch, text, 'pods');
  });
  return compare(found, pods);
}

/** Answers promtool by path, and gives the targets that it found, as `job at address/path`. */
async function discover(answers, prepare) {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    response.setHeader('content-type', 'application/json');
    response.setHeader('x-consul-index', '1');
    // Who waits for a change gets none.
    if (searchParams.has('watch') || Number(searchParams.get('index')) > 0) return response.flushHeaders();
    const answer = answers[pathname];
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(JSON.stringify(answer ?? {}));
  });
  const port = await listen(server);
  try {
    const { path, job } = prepare(`127.0.0.1:${port}`);
    const output = await runTool(['promtool-full', 'check', 'service-discovery', '--timeout=3s', path, job]);
    return JSON.parse(output).flatMap(({ labels }) =>
      labels?.__address__ === undefined
        ? []
        : `${labels.job} at ${labels.__address__}${labels.__metrics_path__}`,
    );
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

function write(scratch, text, job) {
  const path = join(scratch, 'prometheus.yml');
  writeFileSync(path, text.replace('rule_files: [rules/*.yml]', 'rule_files: []'));
  return { path, job };
}

function compare(found, named) {
  const expected = named.flatMap(({ expect }) => expect ?? []);
  for (const target of expected)
    if (!found.includes(target))
      throw new CheckError(`${target} was not found, but ${found.join(', ') || 'nothing'}`);
  for (const target of found)
    if (!expected.includes(target)) throw new CheckError(`${target} was not left out`);
  return `${expected.length} of ${named.length} become targets, with job, address and path`;
}
