/** Maximum number of recorded tags, of about 100 bytes each. */
const MAX_TAGS = 100_000;

/**
 * Records the version in which each tag was last invalidated in this process. A version is a counter of this
 * process. A reader reads the current version before it queries the database; its result is current as long as none
 * of its tags was invalidated in a later version. So a write between the query and the storing of its result is
 * never missed.
 */
export class TagVersions {
  #current = 0;
  /** Entries loaded before this version are stale, whatever their tags are. */
  #minimum = 0;
  /** The version of the last invalidation of each tag, in ascending order of versions. */
  readonly #invalidatedIn = new Map<string, number>();

  /** The version to read before a load. */
  get current(): number {
    return this.#current;
  }

  /** Makes all entries with one of these tags stale. */
  invalidate(tags: Iterable<string>): void {
    this.#current += 1;
    for (const tag of tags) {
      // Deleted first, so that the map stays in the order of versions.
      this.#invalidatedIn.delete(tag);
      this.#invalidatedIn.set(tag, this.#current);
    }
    for (const [tag, version] of this.#invalidatedIn) {
      if (this.#invalidatedIn.size <= MAX_TAGS) break;
      // A tag that is no longer recorded counts as invalidated, and with it all others of that version.
      this.#minimum = version;
      this.#invalidatedIn.delete(tag);
    }
  }

  /** Makes all entries stale, for instance because invalidations may have been missed. */
  invalidateAll(): void {
    this.#current += 1;
    this.#minimum = this.#current;
    this.#invalidatedIn.clear();
  }

  /** Returns whether an entry with these tags, loaded in this version, is still current. */
  isCurrent(tags: readonly string[], version: number): boolean {
    if (version < this.#minimum) return false;
    for (const tag of tags) {
      const invalidatedIn = this.#invalidatedIn.get(tag);
      if (invalidatedIn !== undefined && invalidatedIn > version) return false;
    }
    return true;
  }
}
