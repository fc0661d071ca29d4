/** Stub until the compact one is merged. */
export class RecentIds {
  // biome-ignore lint: stub
  constructor(_: { windowMs: number; maxIds: number; logTime?: number }) {}
  oldest: { offset: number; logTime: number } | undefined;
  #ids = new Map<string, number>();
  see(id: string, offset: number, receivedAt: number): number | undefined {
    const first = this.#ids.get(id);
    if (first === undefined) {
      this.#ids.set(id, offset);
      this.oldest ??= { offset, logTime: receivedAt };
    }
    return first;
  }
}
