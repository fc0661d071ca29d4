/**
 * What Prometheus makes of the targets that Consul and Kubernetes name: promtool relabels them. They are given to it as
 * fixed targets with the labels that discovery would give them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { CheckError, runTool } from '../check.mjs';

const directory = 'docker/prometheus';

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'prometheus targets from Consul',
    tools: ['promtool'],
    run: ({ root, scratch }) =>
      compare(join(root, directory, 'prometheus.consul.yml'), { job: 'consul', targets: services, scratch }),
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
    ],
  },
  {
    name: 'prometheus targets from Kubernetes',
    tools: ['promtool'],
    run: ({ root, scratch }) =>
      compare(join(root, directory, 'prometheus.kubernetes.yml'), { job: 'pods', targets: pods, scratch }),
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
    ],
  },
];

/** As Consul names them; what becomes of each, nothing when it is no target. */
const services = [
  consulService(
    'millrace-collector',
    { node: '10.0.0.1', port: 8080 },
    'millrace-collector at 10.0.0.1:8080/metrics',
  ),
  consulService(
    'millrace-streamer',
    { node: '10.0.0.2', address: '172.16.0.2', port: 8081 },
    'millrace-streamer at 172.16.0.2:8081/metrics',
  ),
  consulService(
    'haproxy',
    { node: '10.0.0.9', port: 8443, metricsPort: 8405 },
    'haproxy at 10.0.0.9:8405/metrics',
  ),
  consulService('postgres', { node: '10.0.0.7', port: 5432 }),
];

function consulService(name, { node, address = '', port, metricsPort }, expect) {
  const labels = {
    address: node,
    service: name,
    service_address: address,
    service_port: String(port),
    node: `host-${node}`,
    tags: ',metrics,',
    ...(metricsPort === undefined ? {} : { service_metadata_metrics_port: String(metricsPort) }),
  };
  return { at: `${address || node}:${port}`, labels: prefixed('__meta_consul_', labels), expect };
}

/** As Kubernetes names them: a pod is one for each of its ports. */
const pods = [
  pod('10.1.0.1:8080', { component: 'collector' }, 'millrace-collector at 10.1.0.1:8080/metrics'),
  pod('10.1.0.1:9229', { component: 'collector' }),
  pod('10.1.0.2:8080', { name: 'kafka', path: '/prom' }, 'kafka at 10.1.0.2:8080/prom'),
  pod('10.1.0.3:8080', { scrape: undefined }),
  pod('10.1.0.4:8080', { component: 'check', phase: 'Succeeded' }),
];

function pod(at, { name = 'millrace', component, path, phase = 'Running', ...others }, expect) {
  const { scrape } = { scrape: 'true', ...others };
  const labels = {
    name: 'a-pod',
    node_name: 'node-1',
    phase,
    container_port_number: at.split(':')[1],
    annotation_prometheus_io_port: '8080',
    annotation_prometheus_io_scrape: scrape,
    annotation_prometheus_io_path: path,
    label_app_kubernetes_io_name: name,
    label_app_kubernetes_io_component: component,
  };
  return { at, labels: prefixed('__meta_kubernetes_pod_', labels), expect };
}

function prefixed(prefix, labels) {
  return Object.fromEntries(
    Object.entries(labels).flatMap(([name, value]) => (value === undefined ? [] : [[prefix + name, value]])),
  );
}

async function compare(path, { job, targets, scratch }) {
  const config = parse(readFileSync(path, 'utf8'));
  const { relabel_configs } = config.scrape_configs.find(({ job_name }) => job_name === job) ?? {};
  const fixed = targets.map(({ at, labels }) => ({ targets: [at], labels }));
  const copy = join(scratch, 'prometheus.yml');
  writeFileSync(
    copy,
    stringify({ scrape_configs: [{ job_name: job, static_configs: fixed, relabel_configs }] }),
  );
  const output = await runTool(['promtool', 'check', 'service-discovery', '--timeout=1s', copy, job]);
  const found = JSON.parse(output).flatMap(({ labels }) =>
    labels?.__address__ === undefined
      ? []
      : `${labels.job} at ${labels.__address__}${labels.__metrics_path__}`,
  );
  const expected = targets.flatMap(({ expect }) => expect ?? []);
  for (const target of expected)
    if (!found.includes(target))
      throw new CheckError(`${target} was not found, but ${found.join(', ') || 'nothing'}`);
  for (const target of found)
    if (!expected.includes(target)) throw new CheckError(`${target} was not left out`);
  return `${expected.length} of ${targets.length} become targets, with job, address and path`;
}
