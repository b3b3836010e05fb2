import type { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";

/**
 * How old the last sign of life may be, milliseconds. Bumps come over the same connection as the signs and in
 * order, so whoever has a sign that was asked for at most this long ago has heard every bump up to then.
 */
export const LEASE_MS = 50;
/** How often a sign is asked for, milliseconds. */
const PING_MS = 15;
/**
 * In how many turns of our own event loop a late sign must be missing before it is taken for Redis's silence.
 * When it is we who were busy, the sign waits in the socket and nothing was missed.
 */
const SILENT_TURNS = 3;

/** What the link does with what it hears. */
export interface LinkEvents {
  /** A message has come. */
  heard(message: string): void;
  /** Bumps may have been missed, by us or by Redis: nothing that was kept may be used again. */
  lost(): void;
  /** Makes what Redis keeps unusable for all, before it is used again. */
  renew(): Promise<void>;
}

/**
 * The subscription on which replicas tell each other what has changed, and whether it can be relied upon.
 * Silence counts as change: without a recent sign of life nothing that is kept may be used.
 */
export class Link {
  readonly #subscriber: Redis;
  readonly #channel: string;
  readonly #events: LinkEvents;
  readonly #log: Log;
  #state: "down" | "up" | "renewing" = "down";
  /** The first connection has missed nothing yet. */
  #isFirst = true;
  #downSinceMs = performance.now();
  /** When the last sign that has come was asked for. */
  #leaseFromMs = Number.NEGATIVE_INFINITY;
  #ping: { sentAtMs: number; turns: number } | undefined;
  readonly #timer: NodeJS.Timeout;
  #waiting: (() => void)[] = [];

  /** @param client whose server is subscribed to, on a connection of its own */
  constructor(client: Redis, channel: string, events: LinkEvents, log: Log) {
    this.#channel = channel;
    this.#events = events;
    this.#log = log;
    this.#subscriber = client.duplicate({ autoResubscribe: false, commandTimeout: undefined });
    this.#subscriber.on("ready", () => this.#subscribe());
    this.#subscriber.on("close", () => this.#fall("closed"));
    // The client that was duplicated tells of errors.
    this.#subscriber.on("error", () => {});
    this.#subscriber.on("message", (_channel: string, message: string) => events.heard(message));
    this.#timer = setInterval(() => this.#turn(), PING_MS).unref();
  }

  /** Whether all bumps up to LEASE_MS ago have been heard. */
  get isLive(): boolean {
    return this.#state === "up" && performance.now() - this.#leaseFromMs <= LEASE_MS;
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
  async confirm(): Promise<boolean> {
    if (this.isLive) return true;
    if (this.#state !== "up") return false;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.isLive;
  }

  /** A bump could not be sent: nothing is relied upon until Redis has been made to forget. */
  distrust(): void {
    this.#fall("a bump failed");
  }

  close(): void {
    clearInterval(this.#timer);
    this.#fall("closing");
    this.#subscriber.disconnect();
  }

  #subscribe(): void {
    this.#ping = undefined;
    // A subscription that fails ends with its connection, and the next one begins here again.
    this.#subscriber.subscribe(this.#channel).catch(() => this.#subscriber.disconnect(true));
  }

  #turn(): void {
    const ping = this.#ping;
    if (ping === undefined) {
      if (this.#subscriber.status === "ready") void this.#send();
      return;
    }
    ping.turns += 1;
    if (this.#isSilence(ping)) this.#fall("silent");
  }

  #isSilence({ sentAtMs, turns }: { sentAtMs: number; turns: number }): boolean {
    return turns >= SILENT_TURNS && performance.now() - sentAtMs > LEASE_MS;
  }

  async #send(): Promise<void> {
    const ping = { sentAtMs: performance.now(), turns: 0 };
    this.#ping = ping;
    try {
      await this.#subscriber.ping();
    } catch {
      // Its connection has ended, which is told by itself.
      if (this.#ping === ping) this.#ping = undefined;
      return;
    }
    if (this.#ping !== ping) return;
    this.#ping = undefined;
    if (this.#isSilence(ping)) this.#fall("silent");
    if (this.#state === "down") await this.#rise();
    this.#leaseFromMs = ping.sentAtMs;
    if (this.#state === "up") this.#wake();
  }

  /**
   * Whoever could not reach Redis has bumped nothing there meanwhile, and its replicas may be back sooner than
   * that process: each one that comes back makes what was kept unusable before it relies on it.
   */
  async #rise(): Promise<void> {
    this.#state = "renewing";
    try {
      if (!this.#isFirst) await this.#events.renew();
      if (this.#state !== "renewing") return;
      this.#events.lost();
      this.#state = "up";
      if (!this.#isFirst) this.#log.info({ away_ms: performance.now() - this.#downSinceMs }, "cache is back");
      this.#isFirst = false;
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
