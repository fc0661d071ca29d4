/** From the options of `bench` to what its runs work with. */
import type { Side } from '../bench/compare.ts';
import { createHttpGetter, type HttpGetter } from '../bench/endpoint.ts';
import type { BenchTarget } from '../bench/measure.ts';
import { createPayload } from '../bench/payload.ts';
import { watchProcess } from '../bench/process-watch.ts';
import { type Profile, parseProfile } from '../bench/profile.ts';
import { createProgress, type Progress } from '../bench/progress.ts';
import { askCollector, type CollectorInfo } from '../bench/run-conditions.ts';
import { openStore, type Store } from '../bench/store.ts';
import { type Config, options } from '../config/options.ts';
import { address, httpUrl } from '../config/types.ts';
import { exitCodes, messageOf, OperatorError } from '../errors.ts';
import { clickhouseClientOptions } from './open-buffer.ts';

/** Waiting for delivery, unless `--wait` says otherwise, milliseconds. */
const defaultWaitMs = 60_000;
/** Status pages and metrics must not hold up a run. */
const lookTimeoutMs = 2_000;

/** What every run needs. */
export interface BenchSetup {
  readonly load: Omit<BenchTarget['load'], 'url'>;
  readonly profile: Profile;
  readonly http: HttpGetter;
  readonly progress: Progress;
  readonly stop: AbortSignal;
}

/**
 * Reads the options; nothing is asked or sent.
 * @throws OperatorError exit 78 for a bad profile, 2 for a payload that cannot be read
 */
export function createSetup(config: Config, stop: AbortSignal): BenchSetup {
  return {
    load: {
      path: config.path,
      payload: createPayload(config.payload, config.eventsPerPost),
      connections: config.connections,
      connectionUse: config.freshConnections ? 'fresh' : 'kept',
      checksCertificate: config.tlsVerify,
      answerTimeoutMs: config.answerTimeout,
    },
    profile: readProfile(config.load),
    http: createHttpGetter({ checksCertificate: config.tlsVerify, timeoutMs: lookTimeoutMs }),
    progress: createProgress(process.stderr),
    stop,
  };
}

function readProfile(text: string): Profile {
  try {
    return parseProfile(text);
  } catch (error) {
    throw new OperatorError(`--load: ${messageOf(error)}`, exitCodes.configuration, { cause: error });
  }
}

/** A site, and the collectors that are measured there. */
interface OpenedSite {
  readonly site: BenchTarget;
  readonly collector: CollectorInfo;
}

/**
 * Asks the collector and, where the tables are to be looked at, ClickHouse, whether they are there.
 * @throws OperatorError exit 69 that names the option to change
 */
export async function openSite(
  setup: BenchSetup,
  config: Config,
  { needsStore }: { readonly needsStore: boolean },
): Promise<OpenedSite> {
  const { url } = config;
  const collector = await askCollector(setup.http, url, { isOurs: true, option: '--url' });
  const store = needsStore && config.reconcile ? await openTables(config) : undefined;
  const streamer = watchProcess(setup.http, config.streamerUrl ?? defaultStreamer(url), 'streamer');
  return {
    collector,
    site: {
      ...createSite(setup, config, url),
      streamer,
      store,
      topic: collector.topic ?? config.kafkaTopic,
      waitMs: config.wait === 0 ? defaultWaitMs : config.wait,
    },
  };
}

/**
 * Asks both collectors that are to be compared whether they are there; they need not be Millrace.
 * @throws OperatorError exit 2 for what is no URL, 69 for a collector that does not answer
 */
export async function openSides(
  setup: BenchSetup,
  config: Config,
  urls: readonly (string | undefined)[],
): Promise<{
  readonly sites: Readonly<Record<Side, BenchTarget>>;
  readonly collectors: readonly CollectorInfo[];
}> {
  const [a, b] = urls.map((text) => {
    const parsed = httpUrl.safeParse(text);
    if (parsed.success) return parsed.data;
    const problem = parsed.error.issues[0]?.message;
    throw new OperatorError(`'bench compare' takes two URLs: ${text} ${problem}`, exitCodes.usage);
  });
  if (a === undefined || b === undefined)
    throw new OperatorError("'bench compare' takes two URLs", exitCodes.usage);
  const collectors: CollectorInfo[] = [];
  for (const url of [a, b])
    collectors.push(await askCollector(setup.http, url, { isOurs: false, option: `the URL ${url.origin}` }));
  return { sites: { a: createSite(setup, config, a), b: createSite(setup, config, b) }, collectors };
}

function createSite({ load, http, progress, stop }: BenchSetup, config: Config, url: URL): BenchTarget {
  return {
    load: { ...load, url },
    warmUpMs: config.warmUp,
    collector: watchProcess(http, url, 'collector'),
    streamer: watchProcess(http, undefined, 'streamer'),
    store: undefined,
    topic: config.kafkaTopic,
    waitMs: 0,
    progress,
    stop,
  };
}

function openTables(config: Config): Promise<Store> {
  const { clickhouseDatabase: database, clickhouseCluster: cluster } = config;
  return openStore({ ...clickhouseClientOptions(config, ''), database, cluster });
}

/** The address that a streamer has unless it is told otherwise, on the machine of the collector. */
function defaultStreamer(collector: URL): URL {
  const { port } = address.parse(options.streamListen.default);
  return new URL(`http://${collector.hostname}:${port}`);
}
