/** An entry of the queue. */
interface Entry {
  readonly keys: readonly string[];
  /** Orders the entries. */
  readonly arrivedAtMs: number;
}

/** Upper bounds of one batch. */
export interface BatchSize {
  /** Maximum number of items. */
  readonly items: number;
  /** Maximum number of keys of all items. An item with more keys is a batch of its own. */
  readonly keys: number;
}

/**
 * The calls that wait for a batch, in the order of their arrival. Batches in flight have no key in common, and of two
 * calls with a common key the first one is never in a later batch than the second, with one exception: a call that
 * needs a key which another session has locked lets those pass that have only its other keys.
 */
export class BatchQueue<T extends Entry> {
  readonly #size: BatchSize;
  /** Entries that no batch has been offered yet. */
  readonly #arrived = new Set<T>();
  /** Earlier entries that have a key in common with a batch in flight, or with an entry before them that has. */
  #blocked = new Set<T>();
  readonly #blockedKeys = new Set<string>();
  readonly #heldKeys = new Set<string>();
  /** Keys that sessions other than those of the batches have locked. */
  readonly #lockedKeys = new Set<string>();
  /** Entries that have waited for locked keys. Batches of their own keep them from delaying the others again. */
  readonly #delayed = new Set<T>();
  /** Whether blocked entries may have become free. They are searched only then, since there may be many. */
  #mustSearchBlocked = false;

  constructor(size: BatchSize) {
    this.#size = size;
  }

  /** Number of entries. */
  get length(): number {
    return this.#arrived.size + this.#blocked.size;
  }

  /** Number of entries that have waited for locked keys. */
  get delayed(): number {
    return this.#delayed.size;
  }

  get hasLockedKeys(): boolean {
    return this.#lockedKeys.size > 0;
  }

  /** Returns the entries in the order of their arrival. They may be removed meanwhile. */
  *entries(): Generator<T> {
    yield* this.#blocked;
    yield* this.#arrived;
  }

  isDelayed(entry: T): boolean {
    return this.#delayed.has(entry);
  }

  add(entry: T): void {
    this.#arrived.add(entry);
  }

  remove(entry: T): void {
    if (!this.#arrived.delete(entry)) this.#blocked.delete(entry);
    this.#delayed.delete(entry);
  }

  /**
   * Removes the entries of the next batch, in order, and holds their keys; empty when all entries have to wait.
   * @param delayed whether to take entries that have waited for locked keys, or the others
   */
  take(delayed: boolean): T[] {
    const batch: T[] = [];
    const keys = new Set<string>();
    let keyCount = 0;
    const fits = (entry: T) =>
      batch.length === 0 ||
      (batch.length < this.#size.items && keyCount + entry.keys.length <= this.#size.keys);
    const searched = this.#mustSearchBlocked ? [this.#blocked, this.#arrived] : [this.#arrived];
    if (this.#mustSearchBlocked) this.#blockedKeys.clear();
    this.#mustSearchBlocked = false;
    let mustSearchAgain = false;
    for (const entries of searched) {
      for (const entry of entries) {
        if (this.#isBlocked(entry)) {
          this.#block(entry);
        } else if (this.#delayed.has(entry) !== delayed) {
          this.#block(entry);
          mustSearchAgain = true;
        } else if (fits(entry)) {
          this.remove(entry);
          batch.push(entry);
          keyCount += entry.keys.length;
          for (const key of entry.keys) keys.add(key);
        } else {
          // The blocked entries behind this one were not searched, so their keys are not known to be blocked.
          this.#mustSearchBlocked = mustSearchAgain || entries === this.#blocked;
          this.#hold(keys);
          return batch;
        }
      }
    }
    this.#mustSearchBlocked = mustSearchAgain;
    this.#hold(keys);
    return batch;
  }

  /** Releases the keys of a batch whose transaction has ended. */
  release(batch: readonly T[]): void {
    for (const { keys } of batch) for (const key of keys) this.#heldKeys.delete(key);
    this.#mustSearchBlocked = true;
  }

  /** Returns entries of a batch to their place. They wait until their locked keys are unlocked. */
  returnDelayed(entries: readonly T[], lockedKeys: Iterable<string>): void {
    for (const key of lockedKeys) this.#lockedKeys.add(key);
    for (const entry of entries) this.#delayed.add(entry);
    const blocked = [...entries, ...this.#blocked];
    this.#blocked = new Set(blocked.sort((a, b) => a.arrivedAtMs - b.arrivedAtMs));
    this.#mustSearchBlocked = true;
  }

  /** Returns entries that need locked keys: enough to have all of these keys, unless a batch would be too large. */
  findLocked(): T[] {
    const found: T[] = [];
    const covered = new Set<string>();
    for (const entry of this.#delayed) {
      if (found.length === this.#size.items || covered.size === this.#lockedKeys.size) break;
      const locked = entry.keys.filter((key) => this.#lockedKeys.has(key) && !covered.has(key));
      if (locked.length > 0) found.push(entry);
      for (const key of locked) covered.add(key);
    }
    return found;
  }

  /** Unlocks the keys of the entries that are no longer locked, and those that no entry needs. */
  updateLocked(entries: readonly T[], lockedKeys: ReadonlySet<string>): void {
    for (const key of entries.flatMap((entry) => entry.keys)) {
      if (!lockedKeys.has(key)) this.#lockedKeys.delete(key);
    }
    if (entries.length === 0) this.#lockedKeys.clear();
    this.#mustSearchBlocked = true;
  }

  #hold(keys: ReadonlySet<string>): void {
    for (const key of keys) this.#heldKeys.add(key);
  }

  #isBlocked({ keys }: Entry): boolean {
    return keys.some(
      (key) => this.#heldKeys.has(key) || this.#blockedKeys.has(key) || this.#lockedKeys.has(key),
    );
  }

  #block(entry: T): void {
    if (this.#arrived.delete(entry)) this.#blocked.add(entry);
    const locked = this.#lockedKeys.size === 0 ? [] : entry.keys.filter((key) => this.#lockedKeys.has(key));
    if (locked.length > 0) this.#delayed.add(entry);
    for (const key of locked.length > 0 ? locked : entry.keys) this.#blockedKeys.add(key);
  }
}
