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
/** How long it is known of a bump that it has come here. Its job asks within seconds, or bumps once more. */
const RECEIPT_TTL_S = 60;
/** Stands for everything that is kept. Its generation is part of each answer. */
export const ALL_TAGS = "*";

/** An answer as Redis keeps it. */
export interface RedisEntry {
  loadedAtMs: number;
  payload: Uint8Array;
}

/** What Redis has for a key: the answer if it is current, and under what generations a new one is to be kept. */
export interface RedisRead {
  entry: RedisEntry | undefined;
  generations: readonly Generation[];
}

/** A new one, unlike all others. */
export function newGeneration(): Generation {
  return randomBytes(GENERATION_BYTES);
}

/**
 * The tier that replicas share. An answer is kept under the generations that its tags had before the database
 * was read, and is good while they are still the same: a write that came in between has changed them, or will
 * before it is acknowledged. Every method rejects when Redis is away or slower than the client's
 * command timeout.
 */
export class RedisTier {
  readonly #redis: Redis;
  readonly #prefix: string;
  /** Under this name this process tells of its bumps, which are no news to itself. */
  readonly #origin = randomBytes(8).toString("hex");

  /** @param namespace keeps shops apart that use one Redis */
  constructor(redis: Redis, namespace: string) {
    this.#redis = redis;
    // In a cluster, what is in braces decides where keys are: all in one place, for they are asked for together.
    this.#prefix = `cartwright:{${namespace}}:`;
  }

  /** Where bumps are told. */
  get channel(): string {
    return `${this.#prefix}bumps`;
  }

  /** The tags that a message on the channel tells of: none for one of our own, "all" when all were bumped. */
  parseMessage(message: string): readonly string[] | "all" {
    const [origin, ...tags] = message.split("\n");
    if (origin === this.#origin) return [];
    return tags[0] === ALL_TAGS ? "all" : tags;
  }

  async read(key: string, tags: readonly string[]): Promise<RedisRead> {
    const keys = [ALL_TAGS, ...tags].map((tag) => this.#tagKey(tag));
    const [stored, ...found] = await this.#redis.mgetBuffer(this.#entryKey(key), ...keys);
    const complete = found.every((generation) => generation !== null);
    const generations = complete ? found.filter((one) => one !== null) : await this.#fence(keys);
    const length = GENERATION_BYTES * generations.length;
    const madeUnder = stored?.subarray(TIME_BYTES, TIME_BYTES + length);
    if (!complete || !stored || !madeUnder?.equals(Buffer.concat(generations))) {
      return { entry: undefined, generations };
    }
    const payload = stored.subarray(TIME_BYTES + length);
    return { entry: { loadedAtMs: stored.readDoubleBE(0), payload }, generations };
  }

  /** Keeps an answer for `ttlMs` under the generations that were read before it was made. */
  async write(
    key: string,
    generations: readonly Generation[],
    { loadedAtMs: madeAtMs, payload }: RedisEntry,
    ttlMs: number,
  ): Promise<void> {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeDoubleBE(madeAtMs);
    const value = Buffer.concat([time, ...generations, payload]);
    await this.#redis.set(this.#entryKey(key), value, "PX", Math.max(1, Math.round(ttlMs)));
  }

  /** Whether this process is the one to make the answer. The lock saves work; nothing breaks without it. */
  async tryLock(key: string): Promise<boolean> {
    return (await this.#redis.set(this.#lockKey(key), "1", "PX", LOCK_MS, "NX")) === "OK";
  }

  async unlock(key: string): Promise<void> {
    await this.#redis.del(this.#lockKey(key));
  }

  /** Ends the generations of tags and tells the other replicas. @param id what `hasBumped` will be asked for */
  async invalidate(tags: readonly string[], id: Buffer): Promise<void> {
    for (let start = 0; start < tags.length; start += CHUNK) {
      await this.#bump(tags.slice(start, start + CHUNK));
    }
    // Not waited for: without it the bump is made twice, which is no harm.
    this.#redis.set(this.#receiptKey(id), "1", "EX", RECEIPT_TTL_S).catch(() => {});
  }

  /** Whether that bump has come here, as far as is known. */
  async hasReceipt(id: Buffer): Promise<boolean> {
    return (await this.#redis.exists(this.#receiptKey(id))) > 0;
  }

  /** Makes everything that is kept unusable. */
  invalidateAll(): Promise<void> {
    return this.#bump([ALL_TAGS]);
  }

  /** Does so if the server was started after it was kept: what a snapshot brings back may have been bumped since. */
  async invalidateAllAfterRestart(): Promise<void> {
    const [, run = ""] = /^run_id:(\w+)/m.exec(await this.#redis.info("server")) ?? [];
    if (run !== "" && (await this.#redis.get(this.#runKey)) === run) return;
    await this.invalidateAll();
    // One that is full does not take it, and is asked to renew by the next process too.
    await this.#redis.set(this.#runKey, run).catch(() => {});
  }

  /**
   * In this order, so that no replica is told before Redis has forgotten. The generations are not replaced but
   * removed, which a Redis that is full does too: whoever needs them next makes new ones.
   */
  async #bump(tags: readonly string[]): Promise<void> {
    const keys = tags.map((tag) => this.#tagKey(tag));
    const message = [this.#origin, ...tags].join("\n");
    const results = await this.#redis.pipeline().unlink(keys).publish(this.channel, message).exec();
    const failed = results?.find(([error]) => error !== null);
    if (!results || failed) throw failed?.[0] ?? new Error("the bump was not made");
  }

  /** The generations of these tags, made where there are none. */
  async #fence(keys: readonly string[]): Promise<Generation[]> {
    const pipeline = this.#redis.pipeline();
    for (const key of keys) pipeline.set(key, newGeneration(), "EX", GENERATION_TTL_S, "NX");
    const [, found] = await Promise.all([pipeline.exec(), this.#redis.mgetBuffer(...keys)]);
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

  #receiptKey(id: Buffer): string {
    return `${this.#prefix}bump:${id.toString("base64url")}`;
  }

  get #runKey(): string {
    return `${this.#prefix}run`;
  }

  #tagKey(tag: string): string {
    return `${this.#prefix}tag:${tag}`;
  }
}
