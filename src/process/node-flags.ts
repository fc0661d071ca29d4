/** What this program asks of Node.js in every process of its own. */

/**
 * Almost nothing survives a request, so a small space for new objects (MiB) costs no time and saves memory: 14 MiB on
 * Node.js 20, more on 24.
 */
export const nodeFlags = ['--max-semi-space-size=8'];

/** The flags for a child process: those of this one, and {@link nodeFlags} where nobody has said otherwise. */
export function childFlags({ execArgv, env }: Pick<NodeJS.Process, 'execArgv' | 'env'> = process): string[] {
  const isChosen = [...execArgv, env.NODE_OPTIONS ?? ''].some((text) => /max[-_]semi[-_]space/.test(text));
  return isChosen ? execArgv : [...execArgv, ...nodeFlags];
}

/**
 * The flags for a process that is shut in: V8's limits, of those of this one, and {@link nodeFlags}. Others may name
 * files that are not there for it, as debuggers and tracers do with `--require`, or open a port.
 */
export function confinedFlags({
  execArgv,
  env,
}: Pick<NodeJS.Process, 'execArgv' | 'env'> = process): string[] {
  const given = [env.NODE_OPTIONS ?? '', ...execArgv].join(' ');
  return [...nodeFlags, ...(given.match(/(?<![^\s"'])--max[-_][\w-]+=\d+(?![^\s"'])/g) ?? [])];
}
