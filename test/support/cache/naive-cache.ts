import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";

/**
 * The longest delay between a load and its storing, in milliseconds. A busy process has such delays anyway; with them
 * the control does not depend on how busy this one is.
 */
const MAX_STORE_DELAY_MS = 100;

/**
 * A plain cache-aside, as the negative control of the freshness tests: readers store what they read, and writers
 * delete the key afterwards. A reader that is slow to store an old value stores it after the deletion.
 */
export class NaiveCache {
  readonly #redis: Redis;
  readonly #prefix: string;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  async getOrLoad(key: string, load: () => Promise<string>): Promise<string> {
    const stored = await this.#redis.get(`${this.#prefix}:${key}`);
    if (stored !== null) return stored;
    const value = await load();
    await sleep(Math.random() * MAX_STORE_DELAY_MS);
    await this.#redis.set(`${this.#prefix}:${key}`, value, "EX", 60);
    return value;
  }

  async invalidate(key: string): Promise<void> {
    await this.#redis.del(`${this.#prefix}:${key}`);
  }
}
