import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { CircuitBreaker } from "../../kernel/async/circuit-breaker.ts";
import type { Log } from "../../kernel/log.ts";
import { type CacheClock, systemCacheClock } from "./cache-clock.ts";
import { AcknowledgementSender } from "./invalidation/acknowledgement-sender.ts";
import { Acknowledgements } from "./invalidation/acknowledgements.ts";
import { InvalidationBarrier } from "./invalidation/invalidation-barrier.ts";
import { InvalidationSender } from "./invalidation/invalidation-sender.ts";
import { InvalidationThrottle } from "./invalidation/invalidation-throttle.ts";
import { LeaseMonitor } from "./invalidation/lease-monitor.ts";
import { LiveReplicas } from "./invalidation/live-replicas.ts";
import { type InvalidatedTags, parseInvalidation, type ThrottledTag } from "./invalidation/messages.ts";
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

/** The invalidations of a transaction, which are repeated unless they are complete. */
export interface RepeatedInvalidation {
  tags: readonly string[];
  /** Throttled tags whose invalidation was not delayed. */
  immediate: readonly string[];
  /** Identifies the invalidation of `tags` and `immediate`. */
  generation: Generation;
  throttled: readonly ThrottledTag[];
}

/** Distributes invalidations of tags to all caches of this process and of the other replicas. */
export class InvalidationBus {
  readonly redisTier: RedisTier;
  readonly lease: LeaseMonitor;
  readonly tagVersions = new TagVersions();
  readonly clock: CacheClock;
  readonly #replicaId = randomBytes(8).toString("hex");
  readonly #acknowledgements: Acknowledgements;
  readonly #acknowledgementSender: AcknowledgementSender;
  readonly #barrier: InvalidationBarrier;
  readonly #sender: InvalidationSender;
  readonly #throttle: InvalidationThrottle;
  readonly #clearCallbacks: (() => void)[] = [];

  constructor({ redis, namespace, log, clock = systemCacheClock }: InvalidationBusOptions) {
    this.clock = clock;
    const replicaId = this.#replicaId;
    const redisTier = new RedisTier(redis, namespace, replicaId);
    const { channels } = redisTier;
    const replicas = new LiveReplicas(replicaId, clock);
    const acknowledgements = new Acknowledgements(replicas, clock);
    const barrier = new InvalidationBarrier(redis, channels.acknowledgementsFor(replicaId), replicaId);
    const breaker = new CircuitBreaker({
      log,
      messages: {
        opened: "Redis rejected invalidations; writes do not wait for it",
        closed: "Redis recovered; writes wait for other replicas",
      },
    });
    const handlers = {
      onSubscribed: () => replicas.recordSubscribed(),
      onDisconnected: () => {
        replicas.recordUnsubscribed();
        barrier.reset();
      },
      onHeartbeatRejected: () => replicas.recordRejected(),
      onHeartbeat: (from: string, sentAtMs: number) => {
        replicas.recordHeartbeat(from, sentAtMs);
        breaker.recordSuccess();
      },
      onInvalidation: (message: string) => this.#receive(message),
      onAcknowledgement: (from: string, sequence: number) => {
        if (from === replicaId) barrier.receive(sequence);
        else acknowledgements.receive(from, sequence);
      },
      onLeaseGranted: () => this.#invalidateAllLocally(),
      beforeFirstLease: () => redisTier.invalidateAllAfterRestart(),
      beforeRenewedLease: () => redisTier.invalidateAll(),
    };
    this.redisTier = redisTier;
    this.lease = new LeaseMonitor({ client: redis, channels, replicaId, handlers, log, clock });
    this.#acknowledgements = acknowledgements;
    this.#acknowledgementSender = new AcknowledgementSender(redis, channels, replicaId);
    this.#barrier = barrier;
    const sender = new InvalidationSender({
      redisTier,
      lease: this.lease,
      replicas,
      acknowledgements,
      breaker,
      clock,
      invalidateLocally: (invalidated) => this.#invalidateLocally(invalidated),
    });
    this.#sender = sender;
    this.#throttle = new InvalidationThrottle({ clock, send: (change) => void sender.sendThrottled(change) });
  }

  /** Number of attempts to publish that failed. */
  get failures(): number {
    return this.#sender.failures;
  }

  /**
   * Makes all entries with these tags stale, in this process and the others. To be called after the commit of the
   * change and before its acknowledgement. Tags are case-insensitive.
   *
   * It resolves when each other replica has acknowledged the invalidation or its lease has ended: after one round trip
   * if all respond, at the latest LEASE_MS after Redis has accepted it. If Redis does not accept the invalidation,
   * it resolves when the leases of the other replicas have ended. Replicas that can reach Redis although this process
   * cannot get the invalidation from `ensureInvalidated`.
   * @param generation of the transaction: identifies the invalidation for `ensureInvalidated`
   * @param throttledTags invalidated as by `invalidateThrottled`, but without a delay
   * @returns whether Redis accepted it
   */
  invalidate(
    tags: readonly string[],
    generation: Generation,
    throttledTags: readonly string[] = [],
  ): Promise<boolean> {
    for (const tag of throttledTags) this.#sender.sendThrottled({ tag: tag.toLowerCase(), version: 0n });
    return this.#sender.send(
      tags.map((tag) => tag.toLowerCase()),
      generation,
    );
  }

  /**
   * Invalidates the tag of a resource whose change may be missing in responses for THROTTLE_MS after its acknowledgement:
   * immediately if this process has not done so within THROTTLE_MS, otherwise at the end of that time, once for all
   * changes in between. To be called after the commit of the change and before its acknowledgement. Tags are case-insensitive.
   */
  invalidateThrottled({ tag, version }: ThrottledTag): void {
    this.#throttle.add({ tag: tag.toLowerCase(), version });
  }

  /**
   * Repeats an invalidation unless it is known to be complete, and waits as `invalidate` does.
   * @returns whether it is complete
   */
  async ensureInvalidated(tags: readonly string[], generation: Generation): Promise<boolean> {
    return this.ensureAllInvalidated([{ tags, immediate: [], generation, throttled: [] }]);
  }

  /**
   * Repeats the invalidations of these transactions unless they are known to be complete: there is a receipt of those
   * that were not delayed, and this process has recorded an invalidation of the same or a later version of the throttled ones.
   * @returns whether all are complete
   */
  async ensureAllInvalidated(invalidations: readonly RepeatedInvalidation[]): Promise<boolean> {
    const withTags = invalidations.filter(({ tags, immediate }) => tags.length + immediate.length > 0);
    const receipts = await this.redisTier
      .hasReceipts(withTags.map(({ generation }) => generation))
      .catch(() => []);
    for (const { throttled } of invalidations) {
      for (const { tag, version } of throttled) {
        const change = { tag: tag.toLowerCase(), version };
        if (!this.tagVersions.hasThrottled(change)) this.#throttle.sendNow(change);
      }
    }
    const repeated = withTags.filter((_, index) => receipts[index] !== true);
    const areAccepted = await Promise.all([
      this.#sender.waitForBatch(),
      ...repeated.map(({ tags, generation, immediate }) => this.invalidate(tags, generation, immediate)),
    ]);
    return !areAccepted.includes(false);
  }

  /**
   * Waits until this process has received all invalidations that Redis accepted before this call.
   * @returns whether it has; false if the connection was lost
   */
  waitForEarlierInvalidations(): Promise<boolean> {
    return this.#barrier.wait();
  }

  /** Registers a callback that clears a cache when all entries become stale. */
  onInvalidateAll(clear: () => void): void {
    this.#clearCallbacks.push(clear);
  }

  /** Publishes the invalidations that are delayed, and disconnects. */
  async close(): Promise<void> {
    if (this.#throttle.pendingCount > 0) {
      this.#throttle.flush();
      await this.#sender.waitForBatch();
    }
    this.lease.close();
    this.#barrier.reset();
    this.#acknowledgements.close();
  }

  #receive(message: string): void {
    const { replicaId, sequence, ...invalidated } = parseInvalidation(message);
    if (replicaId === this.#replicaId) {
      if (sequence !== undefined) this.#acknowledgements.receiveOwn(sequence);
      return;
    }
    this.#invalidateLocally(invalidated);
    if (sequence !== undefined) this.#acknowledgementSender.add(replicaId, sequence);
  }

  #invalidateLocally({ tags, throttled }: InvalidatedTags): void {
    if (tags.includes(ALL_TAGS)) this.#invalidateAllLocally();
    else if (tags.length > 0) this.tagVersions.invalidate(tags);
    if (throttled.length > 0) this.tagVersions.invalidateThrottled(throttled, this.clock.monotonicMs());
  }

  #invalidateAllLocally(): void {
    this.tagVersions.invalidateAll();
    for (const clear of this.#clearCallbacks) clear();
  }
}
