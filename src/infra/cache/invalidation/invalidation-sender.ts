import { setTimeout as sleep } from "node:timers/promises";
import type { CircuitBreaker } from "../../../kernel/async/circuit-breaker.ts";
import { MAX_RECONNECT_DELAY_MS, READ_ONLY_RECONNECT_MS } from "../../redis/redis.ts";
import type { CacheClock } from "../cache-clock.ts";
import { type Generation, MAX_TAGS_PER_MESSAGE, type RedisTier } from "../redis-tier.ts";
import type { Acknowledgements } from "./acknowledgements.ts";
import { LEASE_MS, type LeaseMonitor } from "./lease-monitor.ts";
import type { LiveReplicas } from "./live-replicas.ts";
import type { InvalidatedTags, ThrottledTag } from "./messages.ts";

/**
 * Minimum time and number of attempts to publish, and the delay between attempts, in milliseconds. If this process is
 * too busy to read the responses, the attempts have still arrived. The time is enough to reconnect, and longer than
 * other replicas use their entries without a heartbeat.
 */
const RETRY_MS = 250;
const MIN_ATTEMPTS = 5;
const RETRY_DELAY_MS = 10;
/**
 * Maximum time of the attempts if the server has rejected one and heartbeats arrive, in milliseconds. It may replicate
 * a server that accepts the heartbeats of other replicas: the time is enough to reconnect to that one.
 */
const MAX_RETRY_MS = READ_ONLY_RECONNECT_MS + 2 * MAX_RECONNECT_DELAY_MS;

export interface SenderOptions {
  redisTier: RedisTier;
  lease: LeaseMonitor;
  replicas: LiveReplicas;
  acknowledgements: Acknowledgements;
  /** Open while Redis accepts neither invalidations nor heartbeats: each invalidation is tried once only. */
  breaker: CircuitBreaker;
  clock: CacheClock;
  /** Invalidates the entries of this process. */
  invalidateLocally(invalidated: InvalidatedTags): void;
}

interface Batch {
  readonly tags: Set<string>;
  /** Versions of the resources, by tag. */
  readonly throttled: Map<string, bigint>;
  readonly generations: Generation[];
  readonly isAccepted: Promise<boolean>;
}

/** Publishes invalidations: those of concurrent writes together, once in a turn of the event loop. */
export class InvalidationSender {
  readonly #options: SenderOptions;
  #batch: Batch | undefined;
  #failures = 0;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Number of attempts to publish that failed. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Publishes an invalidation, and waits until no replica uses entries from before it.
   * @param generation of the transaction, of which a receipt is stored
   * @returns whether Redis accepted it
   */
  send(tags: readonly string[], generation: Generation): Promise<boolean> {
    this.#batch ??= this.#openBatch();
    for (const tag of tags) this.#batch.tags.add(tag);
    this.#batch.generations.push(generation);
    return this.#batch.isAccepted;
  }

  /**
   * Publishes a throttled invalidation. Other replicas acknowledge none of them.
   * @returns whether Redis accepted it
   */
  sendThrottled({ tag, version }: ThrottledTag): Promise<boolean> {
    this.#batch ??= this.#openBatch();
    const last = this.#batch.throttled.get(tag) ?? version;
    this.#batch.throttled.set(tag, last > version ? last : version);
    return this.#batch.isAccepted;
  }

  /** Waits until the open batch is published. @returns whether Redis accepted it; true if there is none */
  async waitForBatch(): Promise<boolean> {
    return (await this.#batch?.isAccepted) ?? true;
  }

  #openBatch(): Batch {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const batch: Batch = { tags: new Set(), throttled: new Map(), generations: [], isAccepted: promise };
    setImmediate(() => {
      this.#batch = undefined;
      resolve(this.#deliver(batch));
    });
    return batch;
  }

  async #deliver({ tags, throttled, generations }: Batch): Promise<boolean> {
    const { redisTier, invalidateLocally } = this.#options;
    const changes = [...throttled].filter(([tag]) => !tags.has(tag));
    const invalidated = { tags: [...tags], throttled: changes.map(([tag, version]) => ({ tag, version })) };
    const isAccepted = await this.#publish(invalidated);
    // Last, because this process may have read stale entries from Redis until then.
    if (!isAccepted) invalidateLocally(withoutVersions(invalidated));
    else if (generations.length > 0) redisTier.storeReceipts(generations);
    return isAccepted;
  }

  async #publish(invalidated: InvalidatedTags): Promise<boolean> {
    const { lease, breaker, clock, replicas } = this.#options;
    const startedAtMs = clock.monotonicMs();
    let error: Error | undefined;
    let wasRejected = false;
    for (let attempt = 1; ; attempt += 1) {
      error = await this.#attempt(invalidated);
      if (error === undefined) {
        breaker.recordSuccess();
        return true;
      }
      this.#failures += 1;
      wasRejected ||= error.name === "ReplyError";
      // After a single failure all replicas keep their entries.
      if (attempt > 1 || !lease.isRedisReachable) lease.revoke();
      const mayRetry = attempt < MIN_ATTEMPTS || this.#isWithinRetryTime(startedAtMs, wasRejected);
      if (!breaker.isClosed || !mayRetry) break;
      await sleep(RETRY_DELAY_MS);
    }
    lease.revoke();
    // While other replicas send heartbeats, they use their entries: the next write must try as hard.
    if (replicas.lastReceivedAtMs < startedAtMs) breaker.recordFailure(error, clock.monotonicMs());
    // After this time no other replica holds a lease from before the change.
    const waitMs = Math.min(startedAtMs, lease.downSinceMs) + LEASE_MS - clock.monotonicMs();
    if (waitMs >= 0) await new Promise<void>((resolve) => clock.schedule(waitMs, resolve));
    return false;
  }

  /** Returns whether to try again: for RETRY_MS, and after a rejection while heartbeats arrive for MAX_RETRY_MS. */
  #isWithinRetryTime(startedAtMs: number, wasRejected: boolean): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const isReplicating = wasRejected && nowMs - this.#options.replicas.lastReceivedAtMs < RETRY_MS;
    return nowMs - startedAtMs < (isReplicating ? MAX_RETRY_MS : RETRY_MS);
  }

  /** Publishes once, and waits for the other replicas if they are notified of tags that are not throttled. */
  async #attempt(invalidated: InvalidatedTags): Promise<Error | undefined> {
    const { redisTier, acknowledgements, invalidateLocally } = this.#options;
    const { parts, last } = splitMessages(invalidated);
    for (const part of parts) {
      const { error } = await redisTier.invalidate(part, undefined);
      if (error !== undefined) return error;
      // As soon as others have read it, since later responses of Redis depend on it (see `InvalidationBarrier`).
      invalidateLocally(part);
    }
    if (invalidated.tags.length === 0) {
      const { error } = await redisTier.invalidate(last, undefined);
      if (error === undefined) invalidateLocally(last);
      return error;
    }
    // Only now, because other invalidations are published while this one waits.
    const sequence = acknowledgements.register();
    const reply = await redisTier.invalidate(last, sequence);
    if (reply.error === undefined) invalidateLocally(last);
    if (reply.isPublished) await acknowledgements.wait(sequence, reply);
    else acknowledgements.remove(sequence);
    return reply.error;
  }
}

/** Returns an invalidation that counts for no version of a resource: other replicas have not received it. */
function withoutVersions({ tags, throttled }: InvalidatedTags): InvalidatedTags {
  return { tags, throttled: throttled.map(({ tag }) => ({ tag, version: 0n })) };
}

/** Splits an invalidation into messages of MAX_TAGS_PER_MESSAGE tags at most. */
function splitMessages({ tags, throttled }: InvalidatedTags): {
  parts: InvalidatedTags[];
  last: InvalidatedTags;
} {
  const parts: InvalidatedTags[] = [];
  let start = 0;
  const slice = (end?: number): InvalidatedTags => ({
    tags: tags.slice(start, end),
    throttled: throttled.slice(Math.max(0, start - tags.length), end && Math.max(0, end - tags.length)),
  });
  for (; start + MAX_TAGS_PER_MESSAGE < tags.length + throttled.length; start += MAX_TAGS_PER_MESSAGE) {
    parts.push(slice(start + MAX_TAGS_PER_MESSAGE));
  }
  return { parts, last: slice() };
}
