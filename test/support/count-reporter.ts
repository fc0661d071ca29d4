import type { Reporter, TestModule } from 'vitest/node';

const coverageNote =
  "Coverage counts the tests' own processes, and not the programs that they start from dist/.\n";

/** Prints the closing line `N passed, N failed, N skipped`; a file that could not be run is a failure. */
export default class CountReporter implements Reporter {
  #isCovered = false;

  onCoverage(): void {
    this.#isCovered = true;
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      if (module.state() === 'failed' && module.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state !== 'pending') counts[state]++;
      }
    }
    // After the default reporter's own summary.
    process.on('exit', () => {
      process.stdout.write(`\nRandom choices are repeated with TEST_SEED=${process.env.TEST_SEED}\n`);
      if (this.#isCovered) process.stdout.write(coverageNote);
      process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
    });
  }
}
