import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";

/** A tag's generation: random, so that one that was lost and made again is never taken for the former one. */
export type Generation = Buffer;

const GENERATION_BYTES = 12;
const TIME_BYTES = 8;
/** Longer than any answer is kept: an answer never outlives the generations that it is held against. */
const GENERATION_TTL_S = 86_400;
/** How long the loading of an answer is left to the process that was first, milliseconds. */
const LOCK_MS = 200;
/** Tags that are bumped in one go. */
const CHUNK = 500;
/** Stands for everything that is kept. Its generation is part of each answer. */
const ALL = "*";

/** An answer as Redis keeps it. */
export interface SharedEntry {
  madeAtMs: number;
  payload: Uint8Array;
}

/** What Redis has for a key: the answer if it is current, and under what generations a new one is to be kept. */
export interface SharedRead {
  entry: SharedEntry | undefined;
  generations: readonly Generation[];
}

/** A generation for tags that are about to be bumped. */
export function newGeneration(): Generation {
  return randomBytes(GENERATION_BYTES);
}

/**
 * The tier that replicas share. An answer is kept under the generations that its tags had before the database
 * was read, and is good while they are still the same: a write that came in between has changed them, or will
 * before it is acknowledged. Every method rejects when Redis is away or slower than the client's
 * command timeout.
 */
export class SharedTier {
  readonly #redis: Redis;
  readonly #prefix: string;
  /** Under this name this process tells of its bumps, which are no news to itself. */
  readonly #origin = randomBytes(8).toString("hex");

  /** @param namespace keeps shops apart that use one Redis */
  constructor(redis: Redis, namespace: string) {
    this.#redis = redis;
    this.#prefix = `cartwright:${namespace}:`;
  }

  /** Where bumps are told. */
  get channel(): string {
    return `${this.#prefix}bumps`;
  }

  /** The tags that a message on the channel tells of: none for one of our own, "all" when all were bumped. */
  tagsOf(message: string): readonly string[] | "all" {
    const [origin, ...tags] = message.split("\n");
    if (origin === this.#origin) return [];
    return tags[0] === ALL ? "all" : tags;
  }

  async read(key: string, tags: readonly string[]): Promise<SharedRead> {
    const keys = [ALL, ...tags].map((tag) => this.#tagKey(tag));
    const [stored, ...found] = await this.#redis.mgetBuffer(this.#entryKey(key), ...keys);
    const complete = found.every((generation) => generation !== null);
    const generations = complete ? found.filter((one) => one !== null) : await this.#fence(keys);
    const length = GENERATION_BYTES * generations.length;
    const madeUnder = stored?.subarray(TIME_BYTES, TIME_BYTES + length);
    if (!complete || !stored || !madeUnder?.equals(Buffer.concat(generations))) {
      return { entry: undefined, generations };
    }
    const payload = stored.subarray(TIME_BYTES + length);
    return { entry: { madeAtMs: stored.readDoubleBE(0), payload }, generations };
  }

  /** Keeps an answer for `ttlMs` under the generations that were read before it was made. */
  async write(
    key: string,
    generations: readonly Generation[],
    { madeAtMs, payload }: SharedEntry,
    ttlMs: number,
  ): Promise<void> {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeDoubleBE(madeAtMs);
    const value = Buffer.concat([time, ...generations, payload]);
    await this.#redis.set(this.#entryKey(key), value, "PX", Math.max(1, Math.round(ttlMs)));
  }

  /** Whether this process is the one to make the answer. The lock saves work; nothing breaks without it. */
  async lock(key: string): Promise<boolean> {
    return (await this.#redis.set(this.#lockKey(key), "1", "PX", LOCK_MS, "NX")) === "OK";
  }

  async unlock(key: string): Promise<void> {
    await this.#redis.del(this.#lockKey(key));
  }

  /** Gives tags a new generation and tells the other replicas. */
  async bump(tags: readonly string[], generation: Generation): Promise<void> {
    for (let start = 0; start < tags.length; start += CHUNK) {
      await this.#bump(tags.slice(start, start + CHUNK), generation);
    }
  }

  /** Those of the tags that are not of this generation: it did not get here, or another came after it. */
  async missing(tags: readonly string[], generation: Generation): Promise<string[]> {
    const found = await this.#redis.mgetBuffer(...tags.map((tag) => this.#tagKey(tag)));
    return tags.filter((_, at) => found[at]?.equals(generation) !== true);
  }

  /** Makes everything that is kept unusable. */
  renew(): Promise<void> {
    return this.bump([ALL], newGeneration());
  }

  async #bump(tags: readonly string[], generation: Generation): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const tag of tags) pipeline.set(this.#tagKey(tag), generation, "EX", GENERATION_TTL_S);
    pipeline.publish(this.channel, [this.#origin, ...tags].join("\n"));
    const results = (await pipeline.exec()) ?? [];
    const told = results.at(-1);
    if (told === undefined || told[0] !== null) throw told?.[0] ?? new Error("the bump was not sent");
    const failed = tags.filter((_, at) => results[at]?.[0] !== null);
    // A Redis that is full takes nothing new, and still forgets: an answer without its generation is void too.
    if (failed.length > 0) await this.#redis.unlink(...failed.map((tag) => this.#tagKey(tag)));
  }

  /** The generations of these tags, made where there are none. */
  async #fence(keys: readonly string[]): Promise<Generation[]> {
    const pipeline = this.#redis.pipeline();
    for (const key of keys) pipeline.set(key, newGeneration(), "EX", GENERATION_TTL_S, "NX");
    await pipeline.exec();
    const found = await this.#redis.mgetBuffer(...keys);
    const made = found.filter((generation) => generation !== null);
    if (made.length < keys.length) throw new Error("redis takes no generations");
    return made;
  }

  #entryKey(key: string): string {
    return `${this.#prefix}entry:${key}`;
  }

  #lockKey(key: string): string {
    return `${this.#prefix}lock:${key}`;
  }

  #tagKey(tag: string): string {
    return `${this.#prefix}tag:${tag}`;
  }
}
