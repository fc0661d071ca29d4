import { type CompareReport, compareCollectors } from '../bench/compare.ts';
import { formatCompare, formatMax, formatRun, formatStep } from '../bench/format-compare.ts';
import { formatBench } from '../bench/format-report.ts';
import { findMax, type MaxStep, type MaxVerdict } from '../bench/max.ts';
import { measure } from '../bench/measure.ts';
import { type BenchVerdict, createReportFile, type ReportFile, reportBench } from '../bench/report.ts';
import { describeConditions } from '../bench/run-conditions.ts';
import { parseSlo, type SloTerm, withErrorLimit } from '../bench/slo.ts';
import { explainStore } from '../bench/store.ts';
import { type Config, type OptionKey, optionName } from '../config/options.ts';
import { type ExitCode, exitCodes, messageOf, OperatorError } from '../errors.ts';
import { listenForStop } from '../process/lifecycle.ts';
import { printableJson, printableLines } from '../text.ts';
import { type BenchSetup, createSetup, openSides, openSite } from './bench-setup.ts';
import { type Command, type CommandContext, clickhouseOptions } from './command.ts';

/** `bench` itself, and its two other forms. */
type Form = 'bench' | 'max' | 'compare';

type Verdict = BenchVerdict | MaxVerdict | CompareReport['verdict'];

/** What came of it: the object for `--json`, and the text for a person. */
interface Outcome {
  readonly report: { readonly verdict: Verdict };
  readonly text: string;
}

const storeOptions = [
  'reconcile',
  'wait',
  'streamerUrl',
  'kafkaTopic',
  ...clickhouseOptions,
  'dataDir',
] as const;
const maxOptions = ['startRate', 'stepTime', 'confirmTime'] as const;

/** Options without a meaning for a form. */
const foreignOptions: Readonly<Record<Form, readonly OptionKey[]>> = {
  bench: [...maxOptions, 'rounds'],
  max: ['load', 'rounds'],
  compare: [...maxOptions, ...storeOptions, 'url', 'slo'],
};

const exitCodeOf: Readonly<Record<Verdict, ExitCode>> = {
  ok: exitCodes.ok,
  loss: exitCodes.lossFound,
  slo_missed: exitCodes.thresholdMissed,
  not_delivered: exitCodes.thresholdMissed,
  none: exitCodes.thresholdMissed,
  nothing_acknowledged: exitCodes.failure,
  failures: exitCodes.failure,
  unavailable: exitCodes.unavailable,
  stopped: exitCodes.failure,
};

const defaultSloWithoutStore = 'p99<100ms';
const defaultSlo = `${defaultSloWithoutStore},loss=0`;

/** `millrace bench`. */
export const bench: Command = {
  arguments: [],
  otherForms: [['max'], ['compare', '<url-A>', '<url-B>']],
  options: [
    'url',
    'load',
    'eventsPerPost',
    'payload',
    'connections',
    'freshConnections',
    'path',
    'tlsVerify',
    'warmUp',
    'answerTimeout',
    'slo',
    ...maxOptions,
    'rounds',
    ...storeOptions,
    'json',
    'report',
    'logLevel',
    'config',
  ],
  exitCodes: {
    1: 'failure, more than 0.1% of the requests failed, nothing was acknowledged, or it was stopped',
    2: 'wrong usage, or a payload that cannot be read',
    98: 'an acknowledged event is lost, changed, or stored more than once',
    99: 'an objective was missed, no rate holds, or not everything is stored within --wait',
  },
  examples: [
    'millrace bench',
    'millrace bench --load line:0:20000:1m --connections 256 --slo "p99<50ms,errors<0.1%"',
    'millrace bench --load const:200:1m --events-per-post 100 --payload mix --report result.json',
    'millrace bench max --slo "p99<100ms,loss=0" --start-rate 5000',
    'millrace bench compare http://127.0.0.1:8080 http://127.0.0.1:9080 --load const:5000:10s --rounds 7',
  ],
  run,
};

async function run(context: CommandContext): Promise<ExitCode> {
  const { config, args } = context;
  const form = formOf(context);
  const { signal, release } = listenForStop();
  let file: ReportFile | undefined;
  try {
    file = openReport(config.report);
    const setup = createSetup(config, signal);
    const forms = { bench: runBench, max: runMax, compare: runCompare };
    const { report, text } = await forms[form](setup, config, args).finally(() => finish(setup));
    file?.write(`${JSON.stringify(report, undefined, 2)}\n`);
    await print(config.json ? printableJson(`${JSON.stringify(report)}\n`) : printableLines(text));
    return exitCodeOf[report.verdict];
  } catch (error) {
    throw explainStore(error, { url: config.clickhouseUrl, database: config.clickhouseDatabase });
  } finally {
    file?.discard();
    release();
  }
}

async function finish({ progress, http }: BenchSetup): Promise<void> {
  progress.clear();
  await http.close();
}

async function runBench(setup: BenchSetup, config: Config): Promise<Outcome> {
  const slo = config.slo === undefined ? undefined : readSlo(config, config.slo);
  const { site, collector } = await openSite(setup, config, { needsStore: true });
  try {
    const environment = describeConditions(site, [collector]);
    const measurement = await measure(site, setup.profile, { reconciles: true });
    const report = reportBench(environment, measurement, { slo, isStopped: setup.stop.aborted });
    return { report, text: formatBench(report) };
  } finally {
    await site.store?.close();
  }
}

async function runMax(setup: BenchSetup, config: Config): Promise<Outcome> {
  const slo = readSlo(config, config.slo ?? (config.reconcile ? defaultSlo : defaultSloWithoutStore));
  const needsStore = slo.some(({ kind }) => kind === 'loss');
  const { site, collector } = await openSite(setup, config, { needsStore });
  try {
    const { startRate, stepTime: stepMs, confirmTime: confirmMs } = config;
    const onStep = (step: MaxStep) => setup.progress.line(formatStep(step));
    const environment = describeConditions(site, [collector]);
    const report = await findMax(site, environment, { slo, startRate, stepMs, confirmMs, onStep });
    return { report, text: formatMax(report) };
  } finally {
    await site.store?.close();
  }
}

async function runCompare(setup: BenchSetup, config: Config, args: readonly string[]): Promise<Outcome> {
  const { sites, collectors } = await openSides(setup, config, args.slice(1));
  const report = await compareCollectors(sites, describeConditions(sites.a, collectors), {
    profile: setup.profile,
    rounds: config.rounds,
    onRun: (round, side, found) => setup.progress.line(formatRun(round, side, found)),
  });
  return { report, text: formatCompare(report) };
}

/** @throws OperatorError exit 78 for a term that is none, 2 for one that `--no-reconcile` leaves without an answer */
function readSlo({ reconcile }: Config, text: string): readonly SloTerm[] {
  const slo = withErrorLimit(parseSlo(text));
  if (reconcile || !slo.some(({ kind }) => kind === 'loss')) return slo;
  throw new OperatorError(
    '--slo loss=0 needs to check the stored events: leave out loss=0, or --no-reconcile',
    exitCodes.usage,
  );
}

/** @throws OperatorError exit 2 for an option that another form takes */
function formOf({ args, flags }: CommandContext): Form {
  const form = (args[0] ?? 'bench') as Form;
  const names = foreignOptions[form].flatMap((key) => [optionName(key), `no-${optionName(key)}`]);
  const misplaced = names.find((name) => name in flags);
  if (misplaced === undefined) return form;
  const name = form === 'bench' ? 'bench' : `bench ${form}`;
  throw new OperatorError(
    `--${misplaced} does not apply to '${name}'. See millrace bench --help`,
    exitCodes.usage,
  );
}

/** A result that cannot be written is found out before it is made. */
function openReport(file: string | undefined): ReportFile | undefined {
  if (file === undefined) return undefined;
  try {
    return createReportFile(file);
  } catch (error) {
    throw new OperatorError(`--report: cannot write ${file}: ${messageOf(error)}`, exitCodes.usage, {
      cause: error,
    });
  }
}

/** Resolves when the reader has taken it. */
async function print(text: string): Promise<void> {
  await new Promise((resolve) => process.stdout.write(text, resolve));
}
