/**
 * One HTTP/1.1 connection with at most one request in flight, straight on a socket: it shares the machine with what it
 * measures, so it has to be cheap. At 10,000 posts a second a request takes 15.3 µs of CPU, 8.8 of them in the system;
 * with undici 23.3 by `dispatch` and 27.0 by `request`. As fast as it goes it is 9.5 against 18.6 and 23.2, and 87,000
 * requests a second against 35,000 and 31,000 (measured on 2 cores shared with the server, Node.js 20; commit 9ea6fc9 has
 * the comparison as bench/load-client.mjs).
 */
import type { OnReadOpts, Socket } from 'node:net';
import { type Answer, AnswerFault, AnswerParser } from './answer-parser.ts';
import { type Endpoint, openEvent, openSocket } from './endpoint.ts';

/** Hears of what happens on a connection. */
export interface ConnectionUser {
  /** It is open; the request that was given to it before, if any, is written. */
  opened(connection: Connection): void;
  /** The answer to its request has come. */
  answered(connection: Connection, answer: Answer): void;
  /** It has ended, in another way than by `close`: the last thing that is heard of it. */
  failed(connection: Connection, failure: ConnectionFailure): void;
}

/** Which request it is, counted from 0, and when it was planned. */
export interface PlannedRequest {
  readonly number: number;
  readonly plannedMs: number;
}

/** Why a connection ended. */
export interface ConnectionFailure {
  /** A code of the system, as `ECONNRESET`, or one of a few texts. */
  readonly reason: string;
  /** Whether its request may have reached the other side. */
  readonly isSent: boolean;
}

/** Connections are read one after the other, and nothing of what is read is kept. */
const readBuffer = Buffer.allocUnsafe(64 * 1024);

/** A connection. Moments are milliseconds of `performance.now()`. */
export class Connection {
  readonly #socket: Socket;
  readonly #user: ConnectionUser;
  readonly #parser = new AnswerParser();
  readonly #isTls: boolean;
  #request: Buffer | undefined;
  #isOpen = false;
  #isEnded = false;
  /** Whether a request was given to it that is not answered yet. */
  isBusy = false;
  /** When its request was planned, by the clock of whoever sends it, and which one it is. */
  plannedMs = 0;
  number = 0;
  /** Since when it is as it is: opening, busy, or idle. */
  sinceMs: number;

  constructor(endpoint: Endpoint, user: ConnectionUser, nowMs: number) {
    this.#user = user;
    this.sinceMs = nowMs;
    this.#isTls = endpoint.tls !== undefined;
    const onread: OnReadOpts = {
      buffer: readBuffer,
      callback: (length) => {
        if (!this.#isEnded) this.#read(readBuffer.toString('latin1', 0, length));
        return true;
      },
    };
    this.#socket = openSocket(endpoint, onread)
      .once(openEvent(endpoint), () => this.#open())
      .once('end', () => this.#endOfAnswers())
      .on('error', (error) => this.#failBy(error))
      .once('close', () => this.fail('closed before the answer'));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Sends a request as soon as the connection is open; it must not be busy. */
  send(request: Buffer, { plannedMs, number }: PlannedRequest, nowMs: number): void {
    this.isBusy = true;
    this.plannedMs = plannedMs;
    this.number = number;
    this.sinceMs = nowMs;
    if (this.#isOpen) this.#socket.write(request);
    else this.#request = request;
  }

  /** Ends it for a reason, which its user hears. */
  fail(reason: string): void {
    this.#fail({ reason, isSent: this.isBusy && this.#isOpen });
  }

  /** Ends it; its user hears nothing more. */
  close(): void {
    this.#isEnded = true;
    this.#socket.destroy();
  }

  #open(): void {
    if (this.#isEnded) return;
    this.#isOpen = true;
    if (this.#request !== undefined) this.#socket.write(this.#request);
    this.#request = undefined;
    this.#user.opened(this);
  }

  #endOfAnswers(): void {
    if (!this.#isEnded) this.#read(undefined);
    this.fail('closed before the answer');
  }

  /** Takes bytes; undefined when there will be no more. */
  #read(text: string | undefined): void {
    let answer: Answer | undefined;
    try {
      answer = text === undefined ? this.#parser.end() : this.#parser.push(text);
    } catch (error) {
      if (!(error instanceof AnswerFault)) throw error;
      this.fail(`no HTTP answer: ${error.message}`);
      return;
    }
    if (answer === undefined) return;
    if (!this.isBusy) {
      this.fail('an answer without a request');
      return;
    }
    this.isBusy = false;
    // An answer that came before all of the request was written: what is left of that belongs to no request.
    const isLast = answer.isLast || this.#socket.writableLength > 0;
    this.#user.answered(this, isLast === answer.isLast ? answer : { ...answer, isLast });
  }

  #failBy(error: Error): void {
    const reason = 'code' in error ? String(error.code) : error.message;
    // A write that the system refused: not all of the request left, and less than all of it is no request.
    const isRefused = !this.#isTls && 'syscall' in error && error.syscall === 'write';
    this.#fail({ reason, isSent: this.isBusy && this.#isOpen && !isRefused });
  }

  #fail(failure: ConnectionFailure): void {
    if (this.#isEnded) return;
    this.close();
    this.#user.failed(this, failure);
  }
}
