/** Which sandboxes work where the tests run, and which must. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TestContext } from 'vitest';
import { findSandbox, type SandboxKind } from '../../src/process/sandbox.ts';

/** Those that stand between the engine and the system by themselves. */
export const confining = ['bubblewrap', 'landlock'] as const satisfies readonly SandboxKind[];

/** Kinds that must not be skipped, with commas between them. */
const required = (process.env.MILLRACE_REQUIRE_SANDBOX ?? '').split(',');

/** Skips a test whose sandbox does not work here; fails it when MILLRACE_REQUIRE_SANDBOX names the sandbox. */
export async function needSandbox({ skip }: TestContext, kind: SandboxKind): Promise<void> {
  try {
    await findSandbox(kind);
  } catch (error) {
    if (required.includes(kind)) throw error;
    skip(error instanceof Error ? error.message : String(error));
  }
}

/** Whether tests can run something as `nobody`, who must be able to read this clone. */
export function canBecomeNobody(): boolean {
  if (process.geteuid?.() !== 0) return false;
  try {
    const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
    execFileSync('runuser', ['-u', 'nobody', '--', 'test', '-r', main], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
