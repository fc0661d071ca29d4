/** fast-check, whose choices come from TEST_SEED like all others: a failed run is repeated by its seed. */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env.TEST_SEED ?? Date.now()) });

export { fc };
