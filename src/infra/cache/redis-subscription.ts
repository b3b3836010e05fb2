import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";

export interface SubscriptionHandlers {
  /** The connection stands and is about to be subscribed. */
  onConnected(): void;
  onDisconnected(): void;
  onMessage(message: string): void;
  /** A heartbeat of this process has come back. `sentAtMs` is as it was sent. */
  onHeartbeat(sentAtMs: number): void;
}

/**
 * A connection that is subscribed to a channel, and to a second one on which this process sends heartbeats to
 * itself. Heartbeats take the path of every invalidation, in order: over the client's connection to Redis, and
 * back over the subscription.
 */
export class RedisSubscription {
  readonly #client: Redis;
  readonly #subscriber: Redis;
  readonly #heartbeatChannel: string;

  /** @param client publishes the heartbeats; the subscription has a connection of its own to the same server */
  constructor(client: Redis, channel: string, handlers: SubscriptionHandlers) {
    this.#client = client;
    this.#heartbeatChannel = `${channel}:${randomUUID()}`;
    this.#subscriber = client.duplicate({ autoResubscribe: false, commandTimeout: undefined });
    this.#subscriber.on("ready", () => {
      handlers.onConnected();
      // A subscription that fails closes its connection, and the next one starts here again.
      this.#subscriber
        .subscribe(channel, this.#heartbeatChannel)
        .catch(() => this.#subscriber.disconnect(true));
    });
    this.#subscriber.on("close", () => handlers.onDisconnected());
    // The client that was duplicated logs errors.
    this.#subscriber.on("error", () => {});
    this.#subscriber.on("message", (from: string, message: string) => {
      if (from === channel) handlers.onMessage(message);
      else handlers.onHeartbeat(Number(message));
    });
  }

  get isConnected(): boolean {
    return this.#subscriber.status === "ready";
  }

  /** Whether this process has any connection to Redis; if so, other replicas may have theirs. */
  get isRedisReachable(): boolean {
    return this.#client.status === "ready" || this.isConnected;
  }

  /** Sends a heartbeat. A failure only means that it does not come back. @param nowMs what comes back with it */
  sendHeartbeat(nowMs: number): void {
    this.#client.publish(this.#heartbeatChannel, String(nowMs)).catch(() => {});
  }

  /** Makes the client's socket timeout detect a connection whose other end is gone. */
  ping(): void {
    this.#subscriber.ping().catch(() => {});
  }

  close(): void {
    this.#subscriber.disconnect();
  }
}
