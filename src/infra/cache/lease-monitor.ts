import type { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";
import { MAX_RECONNECT_DELAY_MS } from "../redis/redis.ts";
import type { CacheClock } from "./cache-clock.ts";
import { RedisSubscription } from "./redis-subscription.ts";

/**
 * How long a heartbeat grants the lease, from when it was sent, milliseconds. A process that has received a
 * heartbeat has also received every invalidation that Redis accepted before it, and knows that Redis accepts
 * writes, which it does not during a failover.
 */
export const LEASE_MS = 50;
/** How often a heartbeat is sent, milliseconds. */
const HEARTBEAT_MS = 15;
/**
 * How many timer ticks without a heartbeat count as a failure of Redis. Ticks are counted instead of time
 * because a busy process misses its own ticks too: then the heartbeat waits in the socket and nothing is lost.
 */
const MISSED_TICKS = 4;
/**
 * How long after a reconnect no lease is granted, milliseconds. Other replicas may have lost their connections
 * at the same time, and cannot publish their invalidations before they have reconnected.
 */
const REJOIN_DELAY_MS = 4 * MAX_RECONNECT_DELAY_MS;

/** What the owner of the monitor does when its state changes. */
export interface LeaseHandlers {
  onMessage(message: string): void;
  /** The state is about to be "up" after a time without a lease: invalidations may have been missed. */
  onLeaseGranted(): void;
  /** Prepares the entries in Redis for the first lease of this process. */
  beforeFirstLease(): Promise<void>;
  /** Makes the entries in Redis outdated before a lease is granted again. */
  beforeRenewedLease(): Promise<void>;
}

/**
 * Watches the subscription to invalidations by means of heartbeats. While the lease is held, all invalidations
 * of up to LEASE_MS ago have been received and cached entries may be used; without it none may.
 */
export class LeaseMonitor {
  readonly #subscription: RedisSubscription;
  readonly #handlers: LeaseHandlers;
  readonly #log: Log;
  readonly #clock: CacheClock;
  readonly #timer: NodeJS.Timeout;
  #state: "down" | "up" | "renewing" = "down";
  /** True until the first lease, unless it was revoked before. */
  #isFirstLease = true;
  #wasDisconnected = false;
  /** No lease is granted before. */
  #rejoinAtMs = Number.NEGATIVE_INFINITY;
  #downSinceMs: number;
  /** When the last heartbeat received was sent. */
  #heartbeatSentAtMs = Number.NEGATIVE_INFINITY;
  #ticksSinceHeartbeat = 0;
  #waiters: (() => void)[] = [];

  /** @param client publishes the heartbeats; the subscription has a connection of its own */
  constructor(
    client: Redis,
    channel: string,
    handlers: LeaseHandlers,
    { log, clock }: { log: Log; clock: CacheClock },
  ) {
    this.#handlers = handlers;
    this.#log = log;
    this.#clock = clock;
    this.#downSinceMs = clock.monotonicMs();
    this.#subscription = new RedisSubscription(client, channel, {
      onConnected: () => {
        if (this.#wasDisconnected) this.#rejoinAtMs = this.#clock.monotonicMs() + REJOIN_DELAY_MS;
      },
      onDisconnected: () => {
        this.#wasDisconnected = true;
        this.#goDown("disconnected");
      },
      onMessage: (message) => handlers.onMessage(message),
      onHeartbeat: (sentAtMs) => this.#receiveHeartbeat(sentAtMs),
    });
    this.#timer = setInterval(() => this.#tick(), HEARTBEAT_MS).unref();
  }

  /** Whether all invalidations of up to LEASE_MS ago have been received. */
  get isHeld(): boolean {
    return this.#state === "up" && this.#clock.monotonicMs() - this.#heartbeatSentAtMs <= LEASE_MS;
  }

  /** Whether Redis is used: the lease is held, or was a moment ago and is about to be extended. */
  get isUp(): boolean {
    return this.#state === "up";
  }

  /** Whether this process has any connection to Redis; if so, other replicas may have theirs. */
  get isRedisReachable(): boolean {
    return this.#subscription.isRedisReachable;
  }

  /** When the state was last left "up", by the monotonic clock. */
  get downSinceMs(): number {
    return this.#downSinceMs;
  }

  /**
   * Waits for the next heartbeat or until it counts as missed, about LEASE_MS.
   * @returns whether the lease is held then
   */
  async waitUntilHeld(): Promise<boolean> {
    if (this.isHeld) return true;
    if (this.#state !== "up") return false;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.isHeld;
  }

  /** Gives up the lease because an invalidation was not published; the next one invalidates all of Redis first. */
  revoke(): void {
    this.#isFirstLease = false;
    this.#goDown("invalidation failed");
  }

  close(): void {
    clearInterval(this.#timer);
    this.#goDown("closed");
    this.#subscription.close();
  }

  #tick(): void {
    this.#ticksSinceHeartbeat += 1;
    if (this.#state === "up" && this.#ticksSinceHeartbeat >= MISSED_TICKS && !this.isHeld) {
      this.#goDown("heartbeats missed");
    }
    if (!this.#subscription.isConnected) return;
    this.#subscription.sendHeartbeat(this.#clock.monotonicMs());
    if (this.#state !== "up") this.#subscription.ping();
  }

  #receiveHeartbeat(sentAtMs: number): void {
    this.#heartbeatSentAtMs = sentAtMs;
    const nowMs = this.#clock.monotonicMs();
    // Heartbeats that all arrive late grant nothing.
    if (nowMs - sentAtMs > LEASE_MS) return;
    this.#ticksSinceHeartbeat = 0;
    if (this.#state === "up") this.#wakeWaiters();
    else if (this.#state === "down" && nowMs >= this.#rejoinAtMs) void this.#goUp();
  }

  /**
   * A writer that could not reach Redis has invalidated nothing there, and other replicas may be back sooner
   * than the writer: each makes the entries in Redis outdated before it uses them.
   */
  async #goUp(): Promise<void> {
    this.#state = "renewing";
    try {
      const isFirstLease = this.#isFirstLease;
      await (isFirstLease ? this.#handlers.beforeFirstLease() : this.#handlers.beforeRenewedLease());
      if (this.#state !== "renewing") return;
      this.#handlers.onLeaseGranted();
      this.#state = "up";
      this.#ticksSinceHeartbeat = 0;
      this.#isFirstLease = false;
      if (isFirstLease) return;
      this.#log.info({ down_ms: this.#clock.monotonicMs() - this.#downSinceMs }, "Cache resumed");
    } catch {
      this.#state = "down";
    }
  }

  #goDown(reason: "disconnected" | "heartbeats missed" | "invalidation failed" | "closed"): void {
    if (this.#state === "up") {
      this.#downSinceMs = this.#clock.monotonicMs();
      if (reason !== "closed") this.#log.warn({ reason }, "Cache suspended; reads bypass it");
    }
    this.#state = "down";
    this.#wakeWaiters();
  }

  #wakeWaiters(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
