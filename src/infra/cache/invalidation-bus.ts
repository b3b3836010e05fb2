import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";
import { type CacheClock, systemCacheClock } from "./cache-clock.ts";
import { LEASE_MS, LeaseMonitor } from "./lease-monitor.ts";
import { ALL_TAGS, type Generation, RedisTier } from "./redis-tier.ts";
import { TagVersions } from "./tag-versions.ts";

export interface InvalidationBusOptions {
  redis: Redis;
  /** Separates databases that use the same Redis. */
  namespace: string;
  log: Log;
  /** Defaults to the system's clock. */
  clock?: CacheClock;
}

/**
 * Minimum time and number of attempts to publish while Redis is reachable, and the delay between attempts, in
 * milliseconds. If this process is too busy to read the responses, the attempts have still arrived.
 */
const RETRY_MS = 250;
const MIN_ATTEMPTS = 5;
const RETRY_DELAY_MS = 10;

/** Distributes invalidations of tags to all caches of this process and of the other replicas. */
export class InvalidationBus {
  readonly redisTier: RedisTier;
  readonly lease: LeaseMonitor;
  readonly tagVersions = new TagVersions();
  readonly clock: CacheClock;
  readonly #clearCallbacks: (() => void)[] = [];
  #failures = 0;

  constructor({ redis, namespace, log, clock = systemCacheClock }: InvalidationBusOptions) {
    this.clock = clock;
    this.redisTier = new RedisTier(redis, namespace);
    const handlers = {
      onMessage: (message: string) => this.#invalidateLocally(this.redisTier.parseMessage(message)),
      onLeaseGranted: () => this.#invalidateAllLocally(),
      beforeFirstLease: () => this.redisTier.invalidateAllAfterRestart(),
      beforeRenewedLease: () => this.redisTier.invalidateAll(),
    };
    this.lease = new LeaseMonitor(redis, this.redisTier.channel, handlers, { log, clock });
  }

  /** Number of attempts to publish that failed. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Makes all entries with these tags stale, in this process and the others. To be called after the commit of the
   * change and before its acknowledgement. Tags are case-insensitive.
   *
   * If Redis does not accept the invalidation, it resolves only when the leases of the other replicas have expired.
   * Replicas that can reach Redis although this process cannot get the invalidation from `ensureInvalidated`.
   * @param generation of the transaction: identifies the invalidation for `ensureInvalidated`
   * @returns whether Redis accepted it
   */
  async invalidate(tags: readonly string[], generation: Generation): Promise<boolean> {
    const names = lowerCase(tags);
    const isPublished = await this.#publish(names, generation);
    // Last, because this process may have read stale entries from Redis until then.
    this.#invalidateLocally(names);
    return isPublished;
  }

  /**
   * Repeats an invalidation unless Redis has accepted it before.
   * @throws if Redis is unavailable
   */
  async ensureInvalidated(tags: readonly string[], generation: Generation): Promise<void> {
    if (await this.redisTier.hasReceipt(generation)) return;
    const names = lowerCase(tags);
    await this.redisTier.invalidate(names, generation);
    this.#invalidateLocally(names);
  }

  /** Registers a callback that clears a cache when all entries become stale. */
  onInvalidateAll(clear: () => void): void {
    this.#clearCallbacks.push(clear);
  }

  close(): void {
    this.lease.close();
  }

  async #publish(tags: readonly string[], generation: Generation): Promise<boolean> {
    const { lease, clock } = this;
    const startedAtMs = clock.monotonicMs();
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.redisTier.invalidate(tags, generation);
        return true;
      } catch {
        this.#failures += 1;
        // After a single failure all replicas keep their entries.
        if (attempt > 1 || !lease.isRedisReachable) lease.revoke();
      }
      const mayRetry = attempt < MIN_ATTEMPTS || clock.monotonicMs() - startedAtMs < RETRY_MS;
      if (!lease.isRedisReachable || !mayRetry) break;
      await sleep(RETRY_DELAY_MS);
    }
    // After this time no other replica holds a lease from before the change.
    const waitMs = Math.min(startedAtMs, lease.downSinceMs) + LEASE_MS - clock.monotonicMs();
    if (waitMs > 0) await sleep(waitMs);
    return false;
  }

  #invalidateLocally(tags: readonly string[]): void {
    if (tags.includes(ALL_TAGS)) this.#invalidateAllLocally();
    else this.tagVersions.invalidate(tags);
  }

  #invalidateAllLocally(): void {
    this.tagVersions.invalidateAll();
    for (const clear of this.#clearCallbacks) clear();
  }
}

const lowerCase = (tags: readonly string[]): string[] => tags.map((tag) => tag.toLowerCase());
