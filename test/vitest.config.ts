import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Each test file runs in a process of its own: they share the seed by the environment.
process.env.TEST_SEED ??= String(Math.floor(Math.random() * 1e9));

const root = fileURLToPath(new URL('..', import.meta.url));

export default defineConfig({
  root,
  test: {
    reporters: ['default', './test/support/count-reporter.ts'],
    // `--coverage` measures what runs in the tests' own processes, not the programs that they start from dist/.
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text-summary'],
      reportsDirectory: '.build/coverage',
    },
    projects: [
      // Generous: properties try many cases, and the machine may be busy.
      { test: { name: 'unit', root, include: ['test/unit/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          root,
          include: ['test/integration/**/*.test.ts', 'test/e2e/**/*.test.ts', 'test/faults/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          // The fault suite prints a line for each scenario.
          disableConsoleIntercept: true,
        },
      },
    ],
  },
});
