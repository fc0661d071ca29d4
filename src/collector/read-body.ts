/** Reads the body of a post: within its limits, counted against the budget, decompressed. */
import type { ByteBudget } from './byte-budget.ts';
import { decompress, type Encoding } from './decompress.ts';
import type { HttpResponse } from './http-app.ts';
import { overloaded, type Problem, tooLarge } from './problem.ts';

const firstGatheredBytes = 16 * 1024;

/** What bounds a body. */
export interface BodyLimits {
  /** Largest body before decompression, and after it. */
  readonly maxBodyBytes: number;
  readonly budget: ByteBudget;
}

/** Called once, unless the client goes away first: then `abandoned` is. */
export interface BodyReceiver {
  /**
   * The whole body. The bytes are valid only during this call. `held` bytes were taken from the budget for
   * it, and the receiver gives them back.
   */
  received(body: Buffer, held: number): void;
  refused(problem: Problem): void;
}

/**
 * Reads the body of `res` and hands it over. A body that comes in one piece is not copied. Whoever calls this
 * has set `res.onAborted`, and `isAborted` says whether it ran: then nothing is handed over.
 */
export function readBody(
  res: HttpResponse,
  options: BodyLimits & { readonly encoding: Encoding; readonly isAborted: () => boolean },
  receiver: BodyReceiver,
): { abandon(): void } {
  const { maxBodyBytes, budget, encoding, isAborted } = options;
  /** Bodies in several pieces are gathered here: one object, however small the pieces are. */
  let gathered: Buffer | undefined;
  let length = 0;
  let held = 0;
  let isOver = false;

  function finish(problem?: Problem): void {
    isOver = true;
    gathered = undefined;
    if (problem === undefined) return;
    budget.give(held);
    held = 0;
    if (!isAborted()) receiver.refused(problem);
  }

  function complete(body: Buffer): void {
    const handedOver = held;
    held = 0;
    finish();
    if (encoding === 'identity') receiver.received(body, handedOver);
    else inflate(body, handedOver);
  }

  function inflate(compressed: Buffer, heldCompressed: number): void {
    // The piece from uWebSockets.js is gone once this call returns, but decompressing goes on.
    decompress(Buffer.from(compressed), encoding, maxBodyBytes, (result) => {
      budget.give(heldCompressed);
      if (isAborted()) return;
      if ('code' in result) receiver.refused(result);
      else if (!budget.tryTake(result.length)) receiver.refused(overloaded(budget.max));
      else receiver.received(result, result.length);
    });
  }

  /** Makes room for `bytes` more, counting the room and not the bytes; false when the budget has none. */
  function reserve(bytes: number): boolean {
    const capacity = gathered?.length ?? 0;
    if (length + bytes <= capacity) return true;
    const wanted = Math.min(Math.max(2 * capacity, length + bytes, firstGatheredBytes), maxBodyBytes);
    if (!budget.tryTake(wanted - held)) return false;
    held = wanted;
    const grown = Buffer.allocUnsafeSlow(wanted);
    if (gathered !== undefined) grown.set(gathered.subarray(0, length));
    gathered = grown;
    return true;
  }

  res.onData((piece, isLast) => {
    if (isOver) return;
    const { byteLength } = piece;
    if (length + byteLength > maxBodyBytes) finish(tooLarge(maxBodyBytes));
    else if (isLast && gathered === undefined) {
      if (!budget.tryTake(byteLength)) finish(overloaded(budget.max));
      else {
        held = byteLength;
        complete(Buffer.from(piece));
      }
    } else if (!reserve(byteLength)) finish(overloaded(budget.max));
    else {
      gathered?.set(new Uint8Array(piece), length);
      length += byteLength;
      if (isLast && gathered !== undefined) complete(gathered.subarray(0, length));
    }
  });

  return {
    abandon() {
      if (isOver) return;
      finish();
      budget.give(held);
      held = 0;
    },
  };
}
