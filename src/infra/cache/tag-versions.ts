/** How many bumped tags are remembered one by one, some 100 bytes each. */
const MAX_TAGS = 100_000;

/**
 * When tags were last bumped, as far as this process has heard, in ticks of its own. Whoever is about to read
 * the database notes the tick first, and what he made of it is current for as long as none of its tags was
 * bumped in a later one: a write that comes between the read and the keeping of its answer is never missed.
 */
export class TagVersions {
  #tick = 0;
  /** What began before this tick is not current, whatever its tags are. */
  #floor = 0;
  readonly #bumped = new Map<string, number>();

  /** The tick of this moment. */
  get current(): number {
    return this.#tick;
  }

  /** Whatever was made of these tags up to now is outdated. */
  invalidate(tags: Iterable<string>): void {
    this.#tick += 1;
    for (const tag of tags) {
      // Anew, so that the map stays in the order of ticks.
      this.#bumped.delete(tag);
      this.#bumped.set(tag, this.#tick);
    }
    for (const [tag, tick] of this.#bumped) {
      if (this.#bumped.size <= MAX_TAGS) break;
      // What cannot be remembered for one tag holds for all.
      this.#floor = tick;
      this.#bumped.delete(tag);
    }
  }

  /** Whatever was made up to now is outdated: bumps may have been missed. */
  invalidateAll(): void {
    this.#tick += 1;
    this.#floor = this.#tick;
    this.#bumped.clear();
  }

  /** Whether what began at tick `since` and is made of `tags` is as of the last bump that was heard. */
  isCurrent(tags: readonly string[], since: number): boolean {
    if (since < this.#floor) return false;
    for (const tag of tags) {
      const bumped = this.#bumped.get(tag);
      if (bumped !== undefined && bumped > since) return false;
    }
    return true;
  }
}
