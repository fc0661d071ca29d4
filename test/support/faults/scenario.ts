/** A scenario as a test: a rig with choices of its own, removed at the end. */
import { type TestContext, test } from 'vitest';
import { byForm, form, runSeed } from './form.ts';
import { createRandom } from './random.ts';
import { Rig, type RigOptions } from './rig.ts';

/** How a scenario runs. */
export interface ScenarioOptions extends Omit<RigOptions, 'name' | 'random'> {
  /** Why it cannot run here; then it is skipped, and says so. */
  readonly skip?: string | false | undefined;
  /** Left out of the short form. */
  readonly isFullOnly?: boolean;
  /** Longest time, milliseconds. Default: 2 minutes, 6 in the full form. */
  readonly timeoutMs?: number;
}

/** Defines a test. Its choices depend on the seed of the run and on its name only. */
export function scenario(
  name: string,
  options: ScenarioOptions,
  run: (rig: Rig, context: TestContext) => Promise<void>,
): void {
  const { isFullOnly = false, timeoutMs = byForm({ full: 360_000, short: 120_000 }), ...rest } = options;
  // Not a skipped test: the short form does not have it.
  if (isFullOnly && form === 'short') return;
  const { skip } = options;
  if (typeof skip === 'string') process.stdout.write(`${name}  skipped: ${skip}\n`);
  test.skipIf(typeof skip === 'string')(name, { timeout: timeoutMs }, async (context) => {
    const rig = new Rig({ ...rest, name, random: createRandom(runSeed ^ hash(name), runSeed) });
    try {
      await run(rig, context);
    } finally {
      await rig.remove();
    }
  });
}

function hash(text: string): number {
  let value = 0;
  for (let i = 0; i < text.length; i++) value = (Math.imul(value, 31) + text.charCodeAt(i)) | 0;
  return value;
}
