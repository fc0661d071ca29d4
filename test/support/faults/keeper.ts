/** Keeps a command of the program running: starts it again whenever it dies, as a service manager would. */
import { setTimeout as sleep } from 'node:timers/promises';
import { launchProgram, type Program } from '../program.ts';

/** What is kept. */
export interface KeepOptions {
  /** What it is, for reports. */
  readonly kind: string;
  readonly args: readonly string[];
  /** Environment of launch number `launch`, from 1. */
  readonly env?: (launch: number) => NodeJS.ProcessEnv;
  /** Pause before it is started again. Default 100 ms. */
  readonly restartMs?: number;
}

/** A command that is kept running. */
export interface Kept {
  readonly kind: string;
  readonly pid: number | undefined;
  /** The running program, or the last one. */
  readonly program: Program;
  /** How often it was killed, by `kill` or by itself. */
  readonly kills: number;
  /** Ends that were no SIGKILL, with what was printed: nobody asked for them. */
  readonly surprises: readonly string[];
  /** What all its launches have written to standard error. */
  log(): string;
  /** Resolves when the program that runs now serves. */
  ready(timeoutMs?: number): Promise<void>;
  /** Sends SIGKILL to it and its children; resolves when it is gone. */
  kill(): Promise<void>;
  /** Stops it for good with SIGTERM and gives the exit code. */
  stop(): Promise<number | string>;
  /** Kills it for good. */
  end(): Promise<void>;
}

/** Starts it. */
export function keep({ kind, args, env = () => ({}), restartMs = 100 }: KeepOptions): Kept {
  const surprises: string[] = [];
  let log = '';
  let kills = 0;
  let launches = 0;
  let isKept = true;
  let program: Program;
  let ready: Promise<void>;

  function launch(): void {
    const started = launchProgram(args, env(++launches));
    program = started;
    started.child.stderr?.on('data', (data) => {
      log += data;
    });
    ready = new Promise((resolve) => {
      started.child.on('message', (message: { type?: string }) => message.type === 'ready' && resolve());
      started.child.stdout?.on('data', () => started.output.stdout.includes('is ready') && resolve());
    });
    void started.exited.then(async (code) => {
      if (code === 'SIGKILL') kills++;
      else if (isKept) surprises.push(`${kind} ended with ${code}: ${started.output.stderr.slice(-2_000)}`);
      if (!isKept) return;
      await sleep(restartMs);
      if (isKept) launch();
    });
  }

  launch();
  return {
    kind,
    surprises,
    get pid() {
      return program.child.pid;
    },
    get program() {
      return program;
    },
    get kills() {
      return kills;
    },
    log: () => log,
    async ready(timeoutMs = 30_000) {
      const deadline = Date.now() + timeoutMs;
      while (Date.now() < deadline) {
        const serving = ready.then(() => true);
        if (await Promise.race([serving, sleep(200, false)])) return;
      }
      throw new Error(
        `${kind} does not serve: ${surprises.join('\n')}\n${program.output.stderr.slice(-2_000)}`,
      );
    },
    kill: () => program.kill(),
    async stop() {
      isKept = false;
      return await program.stop();
    },
    async end() {
      isKept = false;
      await program.kill();
    },
  };
}
