/**
 * Ends the process at a chosen step, so that tests can crash it where it hurts: `MILLRACE_FAULT_POINT=name` does
 * so the first time that the step is passed, `name:3` the third. Nothing happens without the variable.
 */

/** Steps of the delivery of one batch. */
type FaultPoint =
  | 'sealed'
  | 'plan-committed'
  | 'repeats-written'
  | 'dead-letters-written'
  | 'insert-sent'
  | 'insert-answered'
  | 'end-committed';

const [chosen, count = '1'] = (process.env.MILLRACE_FAULT_POINT ?? '').split(':');
let left = Number(count);

/** Passes a step. With `inMs`, the process ends so many milliseconds later: while something is under way. */
export function passFaultPoint(point: FaultPoint, inMs = 0): void {
  if (point !== chosen || --left > 0) return;
  const end = (): void => {
    process.kill(process.pid, 'SIGKILL');
  };
  if (inMs === 0) end();
  else setTimeout(end, inMs);
}
