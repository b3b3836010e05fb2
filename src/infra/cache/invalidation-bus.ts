import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";
import { CircuitBreaker } from "../redis/circuit-breaker.ts";
import { type CacheClock, systemCacheClock } from "./cache-clock.ts";
import { AcknowledgementSender } from "./invalidation/acknowledgement-sender.ts";
import { Acknowledgements } from "./invalidation/acknowledgements.ts";
import { InvalidationSender } from "./invalidation/invalidation-sender.ts";
import { LeaseMonitor } from "./invalidation/lease-monitor.ts";
import { LiveReplicas } from "./invalidation/live-replicas.ts";
import { parseInvalidation } from "./invalidation/messages.ts";
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

/** Distributes invalidations of tags to all caches of this process and of the other replicas. */
export class InvalidationBus {
  readonly redisTier: RedisTier;
  readonly lease: LeaseMonitor;
  readonly tagVersions = new TagVersions();
  readonly clock: CacheClock;
  readonly #replicaId = randomBytes(8).toString("hex");
  readonly #acknowledgements: Acknowledgements;
  readonly #acknowledgementSender: AcknowledgementSender;
  readonly #sender: InvalidationSender;
  readonly #clearCallbacks: (() => void)[] = [];

  constructor({ redis, namespace, log, clock = systemCacheClock }: InvalidationBusOptions) {
    this.clock = clock;
    const replicaId = this.#replicaId;
    const redisTier = new RedisTier(redis, namespace, replicaId);
    const { channels } = redisTier;
    const replicas = new LiveReplicas(replicaId, clock);
    const acknowledgements = new Acknowledgements(replicas, clock);
    const breaker = new CircuitBreaker({
      log,
      messages: {
        opened: "Redis rejected invalidations; writes do not wait for it",
        closed: "Redis recovered; writes wait for other replicas",
      },
    });
    const handlers = {
      onSubscribed: () => replicas.recordSubscribed(),
      onDisconnected: () => replicas.recordUnsubscribed(),
      onHeartbeatRejected: () => replicas.recordRejected(),
      onHeartbeat: (from: string, sentAtMs: number) => {
        replicas.recordHeartbeat(from, sentAtMs);
        breaker.recordSuccess();
      },
      onInvalidation: (message: string) => this.#receive(message),
      onAcknowledgement: (from: string, sequence: number) => acknowledgements.receive(from, sequence),
      onLeaseGranted: () => this.#invalidateAllLocally(),
      beforeFirstLease: () => redisTier.invalidateAllAfterRestart(),
      beforeRenewedLease: () => redisTier.invalidateAll(),
    };
    this.redisTier = redisTier;
    this.lease = new LeaseMonitor({ client: redis, channels, replicaId, handlers, log, clock });
    this.#acknowledgements = acknowledgements;
    this.#acknowledgementSender = new AcknowledgementSender(redis, channels, replicaId);
    this.#sender = new InvalidationSender({
      redisTier,
      lease: this.lease,
      replicas,
      acknowledgements,
      breaker,
      clock,
      invalidateLocally: (tags) => this.#invalidateLocally(tags),
    });
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
   * @returns whether Redis accepted it
   */
  invalidate(tags: readonly string[], generation: Generation): Promise<boolean> {
    return this.#sender.send(
      tags.map((tag) => tag.toLowerCase()),
      generation,
    );
  }

  /**
   * Repeats an invalidation unless it is known to be complete, and waits as `invalidate` does.
   * @returns whether it is complete
   */
  async ensureInvalidated(tags: readonly string[], generation: Generation): Promise<boolean> {
    const isComplete = await this.redisTier.hasReceipt(generation).catch(() => false);
    return isComplete || this.invalidate(tags, generation);
  }

  /** Registers a callback that clears a cache when all entries become stale. */
  onInvalidateAll(clear: () => void): void {
    this.#clearCallbacks.push(clear);
  }

  close(): void {
    this.lease.close();
    this.#acknowledgements.close();
  }

  #receive(message: string): void {
    const { replicaId, sequence, tags } = parseInvalidation(message);
    if (replicaId === this.#replicaId) {
      if (sequence !== undefined) this.#acknowledgements.receiveOwn(sequence);
      return;
    }
    this.#invalidateLocally(tags);
    if (sequence !== undefined) this.#acknowledgementSender.add(replicaId, sequence);
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
