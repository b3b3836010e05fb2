import type { Redis } from "ioredis";
import type { Log } from "../../../kernel/log.ts";
import { MAX_RECONNECT_DELAY_MS } from "../../redis/redis.ts";
import type { CacheClock } from "../cache-clock.ts";
import type { Channels } from "./messages.ts";
import { RedisSubscription, type SubscriptionHandlers } from "./redis-subscription.ts";

/**
 * Duration of the lease that a heartbeat grants, from the time it was sent, in milliseconds. A process that has
 * received a heartbeat has also received every invalidation that Redis accepted before it. The heartbeat also proves
 * that Redis accepts writes, which it does not during a failover.
 */
export const LEASE_MS = 50;
/** Interval between heartbeats, in milliseconds. */
const HEARTBEAT_MS = 15;
/**
 * Number of timer ticks without a heartbeat that counts as a failure of Redis. Ticks are counted instead of time
 * because a busy process misses its own ticks too: then the heartbeat waits in the socket and nothing is lost.
 */
const MISSED_TICKS = 4;
/**
 * Time after a reconnect during which no lease is granted, in milliseconds. Other replicas may have lost their
 * connections at the same time, and cannot publish their invalidations before they have reconnected.
 */
const REJOIN_DELAY_MS = 4 * MAX_RECONNECT_DELAY_MS;

/**
 * Duration of a suspension from which on it is logged above level debug, in milliseconds. A busy process misses
 * heartbeats for some milliseconds, and a lost connection to Redis is usually restored within some more.
 */
export const LOGGED_SUSPENSION_MS = 1_000;

type SuspensionReason = "disconnected" | "heartbeats missed" | "invalidation failed" | "closed";

/** Callbacks of the monitor. */
export interface LeaseHandlers extends Omit<SubscriptionHandlers, "onConnected"> {
  /** Called before the first use of a new lease: invalidations may have been missed without one. */
  onLeaseGranted(): void;
  /** Prepares the entries in Redis for the first lease of this process. */
  beforeFirstLease(): Promise<void>;
  /** Makes the entries in Redis stale before a lease is granted again. */
  beforeRenewedLease(): Promise<void>;
}

export interface LeaseOptions {
  /** Publishes the heartbeats; the subscription has a connection of its own. */
  client: Redis;
  channels: Channels;
  /** Identifies this process. */
  replicaId: string;
  handlers: LeaseHandlers;
  log: Log;
  clock: CacheClock;
}

/**
 * Monitors the subscription to invalidations by heartbeats. While the lease is held, cached entries may be used:
 * writers wait until this process has acknowledged their invalidations. Without the lease they must not be used.
 */
export class LeaseMonitor {
  readonly #subscription: RedisSubscription;
  readonly #handlers: LeaseHandlers;
  readonly #log: Log;
  readonly #clock: CacheClock;
  readonly #timer: NodeJS.Timeout;
  #state: "down" | "up" | "renewing" = "down";
  /** Whether no lease has been granted or revoked so far. */
  #isFirstLease = true;
  #wasDisconnected = false;
  /** The earliest time of the next lease, by the monotonic clock. */
  #rejoinAtMs = Number.NEGATIVE_INFINITY;
  #downSinceMs: number;
  #suspensionReason: SuspensionReason | undefined;
  /** Cancels the warning of a suspension that has just begun; it does nothing after the warning. */
  #cancelWarning = () => {};
  /** The time at which the last received heartbeat was sent. */
  #heartbeatSentAtMs = Number.NEGATIVE_INFINITY;
  #ticksSinceHeartbeat = 0;
  #waiters: (() => void)[] = [];

  constructor({ client, channels, replicaId, handlers, log, clock }: LeaseOptions) {
    this.#handlers = handlers;
    this.#log = log;
    this.#clock = clock;
    this.#downSinceMs = clock.monotonicMs();
    const subscriptionHandlers: SubscriptionHandlers = {
      ...handlers,
      onConnected: () => {
        if (this.#wasDisconnected) this.#rejoinAtMs = this.#clock.monotonicMs() + REJOIN_DELAY_MS;
      },
      onDisconnected: () => {
        this.#wasDisconnected = true;
        handlers.onDisconnected();
        this.#suspend("disconnected");
      },
      onHeartbeat: (from, sentAtMs) => {
        handlers.onHeartbeat(from, sentAtMs);
        if (from === replicaId) this.#receiveHeartbeat(sentAtMs);
      },
    };
    this.#subscription = new RedisSubscription({
      client,
      channels,
      replicaId,
      handlers: subscriptionHandlers,
    });
    this.#timer = setInterval(() => this.#tick(), HEARTBEAT_MS).unref();
  }

  /** Whether all invalidations older than LEASE_MS have been received. */
  get isHeld(): boolean {
    return this.#state === "up" && this.#clock.monotonicMs() - this.#heartbeatSentAtMs <= LEASE_MS;
  }

  /** Whether Redis is used: the lease is held, or has just expired and awaits the next heartbeat. */
  get isUp(): boolean {
    return this.#state === "up";
  }

  /** Whether this process has a connection to Redis. If so, other replicas may have one too. */
  get isRedisReachable(): boolean {
    return this.#subscription.isRedisReachable;
  }

  /** The time at which the cache was last suspended, by the monotonic clock. */
  get downSinceMs(): number {
    return this.#downSinceMs;
  }

  /**
   * Waits about LEASE_MS at most for the next heartbeat.
   * @returns whether the lease is held then
   */
  async waitUntilHeld(): Promise<boolean> {
    if (this.isHeld) return true;
    if (this.#state !== "up") return false;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.isHeld;
  }

  /** Gives up the lease because an invalidation was not published. Before the next one all entries become stale. */
  revoke(): void {
    this.#isFirstLease = false;
    this.#suspend("invalidation failed");
  }

  close(): void {
    clearInterval(this.#timer);
    this.#suspend("closed");
    this.#cancelWarning();
    this.#subscription.close();
  }

  #tick(): void {
    this.#ticksSinceHeartbeat += 1;
    if (this.#state === "up" && this.#ticksSinceHeartbeat >= MISSED_TICKS && !this.isHeld) {
      this.#suspend("heartbeats missed");
    }
    if (!this.#subscription.isConnected) return;
    this.#subscription.sendHeartbeat(this.#clock.monotonicMs());
    if (this.#state !== "up") this.#subscription.ping();
  }

  #receiveHeartbeat(sentAtMs: number): void {
    this.#heartbeatSentAtMs = sentAtMs;
    const nowMs = this.#clock.monotonicMs();
    // A heartbeat that arrives late grants no lease.
    if (nowMs - sentAtMs > LEASE_MS) return;
    this.#ticksSinceHeartbeat = 0;
    if (this.#state === "up") this.#wakeWaiters();
    else if (this.#state === "down" && nowMs >= this.#rejoinAtMs) void this.#resume();
  }

  /**
   * Makes the entries in Redis stale before they are used again, since a writer that could not reach Redis has
   * invalidated none of them, and may reconnect later than this process.
   */
  async #resume(): Promise<void> {
    this.#state = "renewing";
    try {
      const isFirstLease = this.#isFirstLease;
      await (isFirstLease ? this.#handlers.beforeFirstLease() : this.#handlers.beforeRenewedLease());
      if (this.#state !== "renewing") return;
      this.#handlers.onLeaseGranted();
      this.#state = "up";
      this.#ticksSinceHeartbeat = 0;
      this.#isFirstLease = false;
      if (!isFirstLease) this.#logResumed();
    } catch {
      this.#state = "down";
    }
  }

  #logResumed(): void {
    this.#cancelWarning();
    const durationMs = Math.round(this.#clock.monotonicMs() - this.#downSinceMs);
    const level = durationMs < LOGGED_SUSPENSION_MS ? "debug" : "info";
    this.#log[level]({ reason: this.#suspensionReason, durationMs }, "Cache resumed");
  }

  #suspend(reason: SuspensionReason): void {
    if (this.#state === "up") {
      this.#downSinceMs = this.#clock.monotonicMs();
      this.#suspensionReason = reason;
      this.#cancelWarning = this.#clock.schedule(LOGGED_SUSPENSION_MS, () =>
        this.#log.warn({ reason }, "Cache suspended; reads bypass it"),
      );
    }
    this.#state = "down";
    this.#wakeWaiters();
  }

  #wakeWaiters(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
