import type { Redis } from "ioredis";

/**
 * Cache-aside as it is mostly done: whoever finds nothing reads the database and keeps what he found, and
 * whoever writes deletes the key afterwards. A reader who is slow to keep an old value keeps it after that.
 * It is here to be caught.
 */
export class NaiveCache {
  readonly #redis: Redis;
  readonly #name: string;

  constructor(redis: Redis, name: string) {
    this.#redis = redis;
    this.#name = name;
  }

  async find(key: string, load: () => Promise<string>): Promise<string> {
    const kept = await this.#redis.get(`${this.#name}:${key}`);
    if (kept !== null) return kept;
    const value = await load();
    await this.#redis.set(`${this.#name}:${key}`, value, "EX", 60);
    return value;
  }

  async invalidate(key: string): Promise<void> {
    await this.#redis.del(`${this.#name}:${key}`);
  }
}
