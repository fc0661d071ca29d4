/** Reading the command line of a benchmark. */

/** Ends the benchmark with exit code 2. */
export function usage(message) {
  return Object.assign(new Error(`${message}; see --help`), { exitCode: 2 });
}

/** A text option of `parseArgs` with a default. */
export function text(value) {
  return { type: 'string', default: value };
}

/** `values` with those of `names` as whole numbers from 1 on. */
export function readWholeNumbers(values, names) {
  const numbers = names.map((name) => {
    const number = Number(values[name]);
    if (!Number.isInteger(number) || number < 1) throw usage(`--${name} must be a whole number from 1 on`);
    return [name, number];
  });
  return { ...values, ...Object.fromEntries(numbers) };
}

/** A comma-separated list of `allowed`. */
export function readList(name, value, allowed) {
  const list = value.split(',');
  if (list.some((item) => !allowed.includes(item))) throw usage(`--${name} takes ${allowed.join(',')}`);
  return list;
}
