/** An entry of the queue. */
interface Entry {
  readonly keys: readonly string[];
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
 * calls with a common key the first one is never in a later batch than the second.
 */
export class BatchQueue<T extends Entry> {
  readonly #size: BatchSize;
  /** Entries that no batch has been offered yet. */
  readonly #arrived = new Set<T>();
  /** Earlier entries that have a key in common with a batch in flight, or with an entry before them that has. */
  readonly #blocked = new Set<T>();
  readonly #blockedKeys = new Set<string>();
  readonly #heldKeys = new Set<string>();
  /** Whether blocked entries may have become free. They are searched only then, since there may be many. */
  #mustSearchBlocked = false;

  constructor(size: BatchSize) {
    this.#size = size;
  }

  /** Number of entries. */
  get length(): number {
    return this.#arrived.size + this.#blocked.size;
  }

  /** The entry that arrived first; undefined when the queue is empty. */
  get oldest(): T | undefined {
    const [entry] = this.#blocked.size > 0 ? this.#blocked : this.#arrived;
    return entry;
  }

  add(entry: T): void {
    this.#arrived.add(entry);
  }

  remove(entry: T): void {
    if (!this.#arrived.delete(entry)) this.#blocked.delete(entry);
  }

  /** Removes the entries of the next batch, in order, and holds their keys; empty when all entries have to wait. */
  take(): T[] {
    const batch: T[] = [];
    const keys = new Set<string>();
    let keyCount = 0;
    const fits = (entry: T) =>
      batch.length === 0 ||
      (batch.length < this.#size.items && keyCount + entry.keys.length <= this.#size.keys);
    const searched = this.#mustSearchBlocked ? [this.#blocked, this.#arrived] : [this.#arrived];
    if (this.#mustSearchBlocked) this.#blockedKeys.clear();
    this.#mustSearchBlocked = false;
    for (const entries of searched) {
      for (const entry of entries) {
        if (this.#isBlocked(entry)) {
          this.#block(entry);
        } else if (fits(entry)) {
          this.remove(entry);
          batch.push(entry);
          keyCount += entry.keys.length;
          for (const key of entry.keys) keys.add(key);
        } else {
          // The blocked entries behind this one were not searched, so their keys are not known to be blocked.
          this.#mustSearchBlocked = entries === this.#blocked;
          this.#hold(keys);
          return batch;
        }
      }
    }
    this.#hold(keys);
    return batch;
  }

  /** Releases the keys of a batch whose transaction has ended. */
  release(batch: readonly T[]): void {
    for (const { keys } of batch) for (const key of keys) this.#heldKeys.delete(key);
    this.#mustSearchBlocked = true;
  }

  #hold(keys: ReadonlySet<string>): void {
    for (const key of keys) this.#heldKeys.add(key);
  }

  #isBlocked({ keys }: Entry): boolean {
    return keys.some((key) => this.#heldKeys.has(key) || this.#blockedKeys.has(key));
  }

  #block(entry: T): void {
    this.#arrived.delete(entry);
    this.#blocked.add(entry);
    for (const key of entry.keys) this.#blockedKeys.add(key);
  }
}
