/** The forms that a command can be given in, as `bench`, `bench max` and `bench compare <A> <B>`. */
import type { Command } from './command.ts';

/** Its positional arguments, form by form. */
export function formsOf(command: Command): readonly (readonly string[])[] {
  return [command.arguments, ...(command.otherForms ?? [])];
}

/** Whether the arguments are of a form: as many, and its plain words as they stand there. */
export function matchesForm(form: readonly string[], args: readonly string[]): boolean {
  return form.length === args.length && form.every((name, i) => name.startsWith('<') || name === args[i]);
}

/** The forms for a message: `no arguments, or max, or compare <A> <B>`. */
export function describeForms(command: Command): string {
  return formsOf(command)
    .map((form) => (form.length === 0 ? 'no arguments' : form.join(' ')))
    .join(', or ');
}
