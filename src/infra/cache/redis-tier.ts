import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import {
  type Channels,
  createChannels,
  encodeInvalidation,
  type InvalidatedTags,
} from "./invalidation/messages.ts";

/** The generation of a tag: random, so that one created after a loss of data never equals an earlier one. */
export type Generation = Buffer;

export const GENERATION_BYTES = 12;
const TIME_BYTES = 8;
/** Longer than the lifetime of any entry: an entry never outlives the generations that it is checked against. */
const GENERATION_TTL_S = 86_400;
/** Time for which the process that holds the lock of a key may load its entry, in milliseconds. */
const LOCK_TTL_MS = 200;
/** Maximum number of tags that can be invalidated together. */
export const MAX_TAGS_PER_MESSAGE = 500;
/** Lifetime of a receipt. The job that reads it runs within seconds; without a receipt it invalidates again. */
const RECEIPT_TTL_S = 60;
/** The tag of all entries. Its generation is part of each entry. */
export const ALL_TAGS = "*";

/** An entry as stored in Redis. */
export interface RedisEntry {
  /** By the wall clock, in milliseconds since the epoch. */
  loadedAtMs: number;
  payload: Uint8Array;
}

/** The result of reading a key. */
export interface RedisRead {
  /** Undefined if there is none, or it is stale. */
  entry: RedisEntry | undefined;
  /** The current generations of the tags, with which a new entry must be stored. */
  generations: readonly Generation[];
}

/** The response of Redis to an invalidation. */
export interface InvalidationReply {
  /** Undefined if the generations are removed and the replicas notified. */
  error: Error | undefined;
  /** Whether the replicas are notified. A read-only server does that although it rejects the rest. */
  isPublished: boolean;
  /** Whether all subscribers of invalidations are subscribed to heartbeats too. The former version is not. */
  isComplete: boolean;
}

/** Creates a generation that equals no other. */
export function newGeneration(): Generation {
  return randomBytes(GENERATION_BYTES);
}

/**
 * The tier that replicas share. An entry is stored with the generations that its tags had before the database
 * was read, and is current as long as they are unchanged: a concurrent write changes them before it is acknowledged
 * (fencing). Every method rejects if Redis is unavailable or slower than the client's command timeout.
 */
export class RedisTier {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #replicaId: string;
  readonly channels: Channels;

  /**
   * @param namespace separates databases that use the same Redis
   * @param replicaId identifies the messages of this process
   */
  constructor(redis: Redis, namespace: string, replicaId: string) {
    this.#redis = redis;
    this.#replicaId = replicaId;
    // In a cluster, the part in braces selects the slot. All keys share one, since commands take several keys.
    this.#prefix = `cartwright:{${namespace}}:`;
    this.channels = createChannels(this.#prefix);
  }

  /** Reads an entry and the generations of its tags, which it creates where there are none. */
  async read(key: string, tags: readonly string[]): Promise<RedisRead> {
    const tagKeys = [ALL_TAGS, ...tags].map((tag) => this.#tagKey(tag));
    const [stored, ...found] = await this.#redis.mgetBuffer(this.#entryKey(key), ...tagKeys);
    const present = found.filter((generation) => generation !== null);
    const isComplete = present.length === tagKeys.length;
    const generations = isComplete ? present : await this.#ensureGenerations(tagKeys);
    const payloadStart = TIME_BYTES + GENERATION_BYTES * generations.length;
    const storedGenerations = stored?.subarray(TIME_BYTES, payloadStart);
    if (!isComplete || !stored || !storedGenerations?.equals(Buffer.concat(generations))) {
      return { entry: undefined, generations };
    }
    const payload = stored.subarray(payloadStart);
    return { entry: { loadedAtMs: stored.readDoubleBE(0), payload }, generations };
  }

  /** Stores an entry for `ttlMs` with the generations that were read before it was loaded. */
  async write(
    key: string,
    generations: readonly Generation[],
    { loadedAtMs, payload }: RedisEntry,
    ttlMs: number,
  ): Promise<void> {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeDoubleBE(loadedAtMs);
    const value = Buffer.concat([time, ...generations, payload]);
    await this.#redis.set(this.#entryKey(key), value, "PX", Math.max(1, Math.round(ttlMs)));
  }

  /** Returns whether this process may load the entry. The lock only avoids duplicate loads. */
  async tryLock(key: string): Promise<boolean> {
    return (await this.#redis.set(this.#lockKey(key), "1", "PX", LOCK_TTL_MS, "NX")) === "OK";
  }

  async unlock(key: string): Promise<void> {
    await this.#redis.del(this.#lockKey(key));
  }

  /**
   * Removes the generations of these tags and notifies all replicas. The commands are sent before it returns.
   *
   * It removes the generations before it publishes, so that no replica reads Redis too early. Generations are
   * removed instead of replaced because a full server accepts that too. The next reader creates new ones.
   * @param invalidated MAX_TAGS_PER_MESSAGE tags at most
   * @param sequence to be acknowledged; undefined if the message needs no acknowledgement
   */
  async invalidate(
    { tags, throttled }: InvalidatedTags,
    sequence: number | undefined,
  ): Promise<InvalidationReply> {
    const keys = [...tags, ...throttled.map(({ tag }) => tag)].map((tag) => this.#tagKey(tag));
    const { invalidations, heartbeats } = this.channels;
    const message = encodeInvalidation({ replicaId: this.#replicaId, sequence, tags, throttled });
    const [unlinked, published, counted] =
      (await this.#redis
        .pipeline()
        .unlink(keys)
        .publish(invalidations, message)
        .pubsub("NUMSUB", invalidations, heartbeats)
        .exec()) ?? [];
    if (!unlinked || !published) {
      const error = new Error("Redis did not run the invalidation");
      return { error, isPublished: false, isComplete: false };
    }
    const [, subscribers] = counted ?? [];
    return {
      error: unlinked[0] ?? published[0] ?? undefined,
      isPublished: published[0] === null,
      isComplete: Array.isArray(subscribers) && Number(subscribers[1]) <= Number(subscribers[3]),
    };
  }

  /** Stores a receipt of the invalidations of these transactions. Without one they are repeated, which is harmless. */
  storeReceipts(generations: readonly Generation[]): void {
    const pipeline = this.#redis.pipeline();
    for (const generation of generations) {
      pipeline.set(this.#receiptKey(generation), "1", "EX", RECEIPT_TTL_S);
    }
    pipeline.exec().catch(() => {});
  }

  /** Returns whether there is a receipt of the invalidation of each of these transactions. */
  async hasReceipts(generations: readonly Generation[]): Promise<boolean[]> {
    if (generations.length === 0) return [];
    const receipts = await this.#redis.mget(...generations.map((generation) => this.#receiptKey(generation)));
    return receipts.map((receipt) => receipt !== null);
  }

  /** Makes all entries stale. */
  async invalidateAll(): Promise<void> {
    const { error } = await this.invalidate({ tags: [ALL_TAGS], throttled: [] }, undefined);
    if (error !== undefined) throw error;
  }

  /**
   * Makes all entries stale if the server has restarted or was promoted: a snapshot or a replica that lagged behind may
   * have invalidated ones.
   */
  async invalidateAllAfterRestart(): Promise<void> {
    const info = await this.#redis.info();
    const ids = /^run_id:(\w+)/m.exec(info)?.[1];
    const runId = [ids, /^master_replid:(\w+)/m.exec(info)?.[1]].join(" ");
    if (ids !== undefined && (await this.#redis.get(this.#runIdKey)) === runId) return;
    await this.invalidateAll();
    // A full server rejects this, and the next process invalidates all entries again.
    await this.#redis.set(this.#runIdKey, runId).catch(() => {});
  }

  /** Returns the generations of these tags; null for those that have none. */
  readGenerations(tags: readonly string[]): Promise<(Generation | null)[]> {
    return this.#redis.mgetBuffer(...tags.map((tag) => this.#tagKey(tag)));
  }

  /** Returns the generations of these tags and creates those that are missing. */
  ensureGenerations(tags: readonly string[]): Promise<Generation[]> {
    return this.#ensureGenerations(tags.map((tag) => this.#tagKey(tag)));
  }

  async #ensureGenerations(tagKeys: readonly string[]): Promise<Generation[]> {
    const pipeline = this.#redis.pipeline();
    for (const key of tagKeys) pipeline.set(key, newGeneration(), "EX", GENERATION_TTL_S, "NX");
    const [, found] = await Promise.all([pipeline.exec(), this.#redis.mgetBuffer(...tagKeys)]);
    const generations = found.filter((generation) => generation !== null);
    if (generations.length < tagKeys.length) throw new Error("Redis did not store the generations of tags");
    return generations;
  }

  #entryKey(key: string): string {
    return `${this.#prefix}entry:${key}`;
  }

  #lockKey(key: string): string {
    return `${this.#prefix}lock:${key}`;
  }

  #receiptKey(generation: Generation): string {
    // Replicas of the former version share it during a rolling update, so it keeps its name.
    return `${this.#prefix}bump:${generation.toString("base64url")}`;
  }

  get #runIdKey(): string {
    return `${this.#prefix}run`;
  }

  #tagKey(tag: string): string {
    return `${this.#prefix}tag:${tag}`;
  }
}
