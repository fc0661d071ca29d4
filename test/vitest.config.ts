import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Each test file runs in a process of its own: they share the seed by the environment.
process.env.TEST_SEED ??= String(Math.floor(Math.random() * 1e9));

const root = fileURLToPath(new URL('..', import.meta.url));

/** These measure rates and times, or end processes at moments: whatever ran beside them would move those. */
const alone = [
  'test/faults/**/*.test.ts',
  'test/e2e/bench.test.ts',
  'test/e2e/outage.test.ts',
  'test/integration/bench-load.test.ts',
  'test/integration/buffer-kafka-group.test.ts',
  'test/integration/buffer-kafka-writer-faults.test.ts',
  'test/integration/dead-letters.test.ts',
  'test/integration/spool.test.ts',
  'test/integration/wide-events.test.ts',
];

/** Vitest takes one less than there are cores, which would be one of two. */
const maxWorkers = 2;

/** Of tests with processes. They start one Kafka for all; and the machine may be busy. */
const ofProcesses = {
  globalSetup: ['test/support/global-setup.ts'],
  testTimeout: 240_000,
  hookTimeout: 120_000,
  // The fault suite prints a line for each scenario.
  disableConsoleIntercept: true,
};

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
      // Generous: properties try many cases.
      {
        test: {
          name: 'unit',
          root,
          include: ['test/unit/**/*.test.ts'],
          maxWorkers,
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'integration',
          root,
          include: ['test/integration/**/*.test.ts', 'test/e2e/**/*.test.ts'],
          exclude: alone,
          maxWorkers,
          sequence: { groupOrder: 1 },
          ...ofProcesses,
        },
      },
      {
        test: {
          name: 'alone',
          root,
          include: alone,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
          ...ofProcesses,
        },
      },
    ],
  },
});
