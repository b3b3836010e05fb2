import { LRUCache } from "lru-cache";
import type { Entry } from "./cache-entry.ts";

/** Share of the memory for `not_found` errors, so that requests for nonexistent ids evict no values. */
const NEGATIVE_SHARE = 1 / 16;

/** The entries in the memory of this process. The least recently used are evicted first. */
export class MemoryTier<T> {
  readonly #values: LRUCache<string, Entry<T>>;
  readonly #errors: LRUCache<string, Entry<T>>;

  /** @param maxBytes maximum of the estimated size of all entries */
  constructor(maxBytes: number) {
    this.#values = createLru(maxBytes * (1 - NEGATIVE_SHARE));
    this.#errors = createLru(maxBytes * NEGATIVE_SHARE);
  }

  get entries(): number {
    return this.#values.size + this.#errors.size;
  }

  get bytes(): number {
    return this.#values.calculatedSize + this.#errors.calculatedSize;
  }

  get(key: string): Entry<T> | undefined {
    return this.#values.get(key) ?? this.#errors.get(key);
  }

  set(key: string, entry: Entry<T>): void {
    const isError = "error" in entry.outcome;
    const lru = isError ? this.#errors : this.#values;
    const other = isError ? this.#values : this.#errors;
    lru.set(key, entry);
    other.delete(key);
  }

  clear(): void {
    this.#values.clear();
    this.#errors.clear();
  }
}

function createLru<T>(maxSize: number): LRUCache<string, Entry<T>> {
  return new LRUCache({ maxSize, sizeCalculation: ({ bytes }) => bytes });
}
