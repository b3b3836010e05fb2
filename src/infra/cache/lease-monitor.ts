import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";
import { MAX_RECONNECT_DELAY_MS } from "../redis/redis.ts";

/**
 * How old the last sign of life may be, milliseconds. A sign is a message to ourselves, which takes the way of
 * every bump: from here to Redis, and back over the subscription, in order. Whoever has one that was sent at
 * most this long ago has heard every bump up to then, and none is held up on its way to Redis, as writes are
 * while it fails over.
 */
export const LEASE_MS = 50;
/** How often one is sent, milliseconds. */
const SIGN_MS = 15;
/**
 * In how many turns of our own event loop signs must be missing before that is taken for Redis's silence.
 * When it is we who were busy, the sign waits in the socket and nothing was missed.
 */
const SILENT_TURNS = 4;
/**
 * How long a new connection is not relied upon after one was lost, milliseconds. Others may have lost theirs too,
 * and cannot tell of their writes before they try again.
 */
const REJOIN_MS = 4 * MAX_RECONNECT_DELAY_MS;

/** What the link does with what it hears. */
export interface LeaseEvents {
  /** A message has come. */
  heard(message: string): void;
  /** Bumps may have been missed, by us or by Redis: nothing that was kept may be used again. */
  lost(): void;
  /** Redis is about to be relied upon for the first time. */
  meet(): Promise<void>;
  /** Makes what Redis keeps unusable for all, before it is used again. */
  renew(): Promise<void>;
}

/**
 * The subscription on which replicas tell each other what has changed, and whether it can be relied upon.
 * Silence counts as change: without a recent sign of life nothing that is kept may be used.
 */
export class LeaseMonitor {
  readonly #client: Redis;
  readonly #subscriber: Redis;
  readonly #channel: string;
  /** Where this process talks to itself. */
  readonly #signs: string;
  readonly #events: LeaseEvents;
  readonly #log: Log;
  #state: "down" | "up" | "renewing" = "down";
  /** Before the first connection nothing was missed, unless there was something to tell. */
  #isNew = true;
  #isLost = false;
  /** Not to be relied upon before. */
  #riseFromMs = Number.NEGATIVE_INFINITY;
  #downSinceMs = performance.now();
  /** When the last sign that has come was sent, and how many turns ago one came in time. */
  #leaseFromMs = Number.NEGATIVE_INFINITY;
  #turns = 0;
  readonly #timer: NodeJS.Timeout;
  #waiting: (() => void)[] = [];

  /** @param client whose server is subscribed to, on a connection of its own */
  constructor(client: Redis, channel: string, events: LeaseEvents, log: Log) {
    this.#client = client;
    this.#channel = channel;
    this.#signs = `${channel}:${randomUUID()}`;
    this.#events = events;
    this.#log = log;
    this.#subscriber = client.duplicate({ autoResubscribe: false, commandTimeout: undefined });
    this.#subscriber.on("ready", () => this.#subscribe());
    this.#subscriber.on("close", () => {
      this.#isLost = true;
      this.#fall("closed");
    });
    // The client that was duplicated tells of errors.
    this.#subscriber.on("error", () => {});
    this.#subscriber.on("message", (from: string, message: string) => {
      if (from === channel) events.heard(message);
      else this.#hear(Number(message));
    });
    this.#timer = setInterval(() => this.#turn(), SIGN_MS).unref();
  }

  /** Whether all bumps up to LEASE_MS ago have been heard. */
  get isHeld(): boolean {
    return this.#state === "up" && performance.now() - this.#leaseFromMs <= LEASE_MS;
  }

  /** Whether there is a connection to Redis, so that others may have theirs. */
  get isRedisReachable(): boolean {
    return this.#client.status === "ready" || this.#subscriber.status === "ready";
  }

  /** Whether Redis can be asked at all. */
  get isUp(): boolean {
    return this.#state === "up";
  }

  /** When a state that is not up began, in milliseconds of `performance.now()`. */
  get downSinceMs(): number {
    return this.#downSinceMs;
  }

  /** Waits for the next sign, or for the silence to be certain: some LEASE_MS. @returns whether it is live */
  async waitUntilHeld(): Promise<boolean> {
    if (this.isHeld) return true;
    if (this.#state !== "up") return false;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.isHeld;
  }

  /** A bump could not be sent: nothing is relied upon until Redis has been made to forget. */
  revoke(): void {
    this.#isNew = false;
    this.#fall("a bump failed");
  }

  close(): void {
    clearInterval(this.#timer);
    this.#fall("closing");
    this.#subscriber.disconnect();
  }

  #subscribe(): void {
    if (this.#isLost) this.#riseFromMs = performance.now() + REJOIN_MS;
    // A subscription that fails ends with its connection, and the next one begins here again.
    this.#subscriber.subscribe(this.#channel, this.#signs).catch(() => this.#subscriber.disconnect(true));
  }

  #turn(): void {
    this.#turns += 1;
    if (this.#state === "up" && this.#turns >= SILENT_TURNS && !this.isHeld) this.#fall("silent");
    if (this.#subscriber.status !== "ready") return;
    // One that fails is missed, which is enough.
    this.#client.publish(this.#signs, String(performance.now())).catch(() => {});
    if (this.#state === "up") return;
    // A connection that has no other end any more is noticed when it does not answer.
    this.#subscriber.ping().catch(() => {});
  }

  #hear(sentAtMs: number): void {
    this.#leaseFromMs = sentAtMs;
    const nowMs = performance.now();
    // Signs that all come late are as good as none.
    if (nowMs - sentAtMs > LEASE_MS) return;
    this.#turns = 0;
    if (this.#state === "up") this.#wake();
    else if (this.#state === "down" && nowMs >= this.#riseFromMs) void this.#rise();
  }

  /**
   * Whoever could not reach Redis has bumped nothing there meanwhile, and its replicas may be back sooner than
   * that process: each one that comes back makes what was kept unusable before it relies on it.
   */
  async #rise(): Promise<void> {
    this.#state = "renewing";
    try {
      const isNew = this.#isNew;
      await (isNew ? this.#events.meet() : this.#events.renew());
      if (this.#state !== "renewing") return;
      this.#events.lost();
      this.#state = "up";
      this.#turns = 0;
      this.#isNew = false;
      if (!isNew) this.#log.info({ away_ms: performance.now() - this.#downSinceMs }, "cache is back");
    } catch {
      this.#state = "down";
    }
  }

  #fall(why: string): void {
    if (this.#state === "up") {
      this.#downSinceMs = performance.now();
      if (why !== "closing")
        this.#log.warn({ reason: why }, "cache is not to be relied upon; reading without it");
    }
    this.#state = "down";
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
