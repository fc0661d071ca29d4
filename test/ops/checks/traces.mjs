/**
 * Spans as Millrace writes them, read by the code that an OpenTelemetry Collector reads them with, and written again:
 * what comes back the same was understood.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { CheckError, runTool } from '../check.mjs';

const context = (digit) => ({ traceId: digit.repeat(32), spanId: digit.repeat(16), isSampled: true });
const spans = [
  {
    context: { ...context('a'), spanId: '1'.repeat(16) },
    parent: context('a'),
    state: 'vendor=value',
    name: 'send events',
    kind: 'producer',
    startMs: 1_700_000_000_000.125,
    endMs: 1_700_000_000_001.5,
    attributes: { text: 'a', whole: 2 ** 40, part: 0.5, yes: true, no: false },
    error: 'BUFFER_UNAVAILABLE',
  },
  {
    context: context('b'),
    name: 'process events',
    kind: 'consumer',
    startMs: 1_700_000_000_000,
    endMs: 1_700_000_000_000,
    attributes: {},
    links: [context('c'), context('d')],
    droppedLinks: 3,
  },
];

/** @type {import('../check.mjs').Check[]} */
export const checks = [
  {
    name: 'trace encoding',
    tools: ['go'],
    heavy: true,
    async run(site) {
      const { encodeSpans } = await importEncoder(site);
      const sent = encodeSpans(spans, { 'service.name': 'millrace-collect', 'service.version': '1' });
      const cwd = join(site.root, 'test/ops/otlp');
      const understood = await runTool(['go', 'run', '.'], { cwd, input: sent });
      if (!isDeepStrictEqual(simplify(JSON.parse(understood)), simplify(JSON.parse(sent))))
        throw new CheckError(`sent:\n${sent}\nunderstood:\n${understood}`);
      return `${spans.length} spans were understood to the last field`;
    },
    mistakes: [
      {
        file: 'src/tracing/otlp.ts',
        find: 'startTimeUnixNano: toNanoseconds(span.startMs)',
        replace: 'startTimeUnixNano: span.startMs',
        says: /startTimeUnixNano/,
      },
      {
        file: 'src/tracing/otlp.ts',
        find: 'droppedLinksCount',
        replace: 'droppedLinkCount',
        says: /droppedLinkCount/,
      },
    ],
  },
];

/** Builds what the source says now, which may be a mistake. */
async function importEncoder({ root, scratch }) {
  const tsc = join(root, 'node_modules/.bin/tsc');
  await runTool([tsc, '-p', join(root, 'tsconfig.json'), '--outDir', scratch], { cwd: root });
  return await import(pathToFileURL(join(scratch, 'tracing/otlp.js')).href);
}

/** Without what has its default: it may be written or not. */
function simplify(value) {
  if (Array.isArray(value)) return value.map(simplify);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value)
    .map(([name, item]) => [name, simplify(item)])
    .filter(([name, item]) => name === 'boolValue' || !isDefault(item));
  return Object.fromEntries(kept);
}

function isDefault(value) {
  return (
    value === '' ||
    value === 0 ||
    value === false ||
    isDeepStrictEqual(value, {}) ||
    isDeepStrictEqual(value, [])
  );
}
