/** The file that `--report` names: whole or not there. */
import { closeSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';

/** A file that is to be written when there is something to write. */
export interface ReportFile {
  /** Puts the file in its place, whole. */
  write(text: string): void;
  /** Takes away what was begun; nothing after `write`. */
  discard(): void;
}

/**
 * Begins to write a file beside the one that is named, so that what cannot be written is found out now, and takes away
 * what an earlier run has left there: a run that fails must not pass for that one.
 * @throws Error of the system when it cannot be written
 */
export function createReportFile(path: string): ReportFile {
  const kind = statSync(path, { throwIfNoEntry: false });
  // A pipe or a terminal: nothing can take its place.
  if (kind !== undefined && !kind.isFile()) {
    closeSync(openSync(path, 'a'));
    return { write: (text) => writeFileSync(path, text), discard: () => {} };
  }
  const temporary = `${path}.${process.pid}.tmp`;
  closeSync(openSync(temporary, 'w'));
  rmSync(path, { force: true });
  return {
    write(text) {
      writeFileSync(temporary, text);
      renameSync(temporary, path);
    },
    discard: () => rmSync(temporary, { force: true }),
  };
}
