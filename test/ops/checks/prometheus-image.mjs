/**
 * The same by the Prometheus that the image has, built from its Go module: it knows the discovery by Consul and by
 * Kubernetes that Debian's promtool was built without, and its major version reads ranges otherwise.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from '../check.mjs';
import { cacheDirectory } from '../tools.mjs';
import { configurations, directory, filesIn } from './prometheus.mjs';

/** Prometheus 3.5.0: its module counts as 0.305. */
const version = 'v0.305.0';

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'prometheus as in the image',
    tools: ['go'],
    heavy: true,
    run: checkByImage,
    mistakes: [
      {
        file: `${directory}/prometheus.consul.yml`,
        find: 'tags: [metrics]',
        replace: 'tag: [metrics]',
        says: /field tag not found/,
      },
      {
        file: `${directory}/prometheus.kubernetes.yml`,
        find: 'kubernetes_sd_configs: [{ role: pod,',
        replace: 'kubernetes_sd_configs: [{ role: pods,',
        says: /role "pods"/,
      },
    ],
  },
];

async function checkByImage({ root }) {
  const promtool = await buildPromtool();
  for (const name of configurations)
    await runTool([promtool, 'check', 'config', join(root, directory, name)]);
  await runTool([promtool, 'test', 'rules', ...filesIn(root, 'tests')]);
  return `${configurations.length} configurations with discovery, and all alert tests, by ${version}`;
}

/** Its go.mod replaces modules, which `go install` refuses: so it is built from within a module that requires it. */
async function buildPromtool() {
  const module = join(cacheDirectory, `promtool-${version}`);
  const program = join(module, 'promtool');
  if (existsSync(program)) return program;
  mkdirSync(module, { recursive: true });
  writeFileSync(join(module, 'go.mod'), 'module example.invalid/promtool\n');
  const name = 'github.com/prometheus/prometheus/cmd/promtool';
  const options = { cwd: module, env: { GOFLAGS: '-mod=mod' }, timeoutMs: 1_800_000 };
  await runTool(['go', 'get', `${name}@${version}`], options);
  await runTool(['go', 'build', '-o', program, name], options);
  return program;
}
