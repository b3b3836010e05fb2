import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";

export interface SubscriptionHandlers {
  /** Called when the connection is open and is about to be subscribed. */
  onConnected(): void;
  onDisconnected(): void;
  onMessage(message: string): void;
  /**
   * Called with a heartbeat of this process.
   * @param sentAtMs the time that was passed to `sendHeartbeat`
   */
  onHeartbeat(sentAtMs: number): void;
}

/**
 * A connection that is subscribed to a channel, and to a second one on which this process sends heartbeats to
 * itself. Heartbeats take the same path as invalidations and keep their order: over the client's connection to Redis,
 * and back over the subscription.
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
      // The next connection subscribes again.
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

  /** Whether this process has a connection to Redis. If so, other replicas may have one too. */
  get isRedisReachable(): boolean {
    return this.#client.status === "ready" || this.isConnected;
  }

  /**
   * Sends a heartbeat. If that fails, the heartbeat is not received.
   * @param nowMs passed to `onHeartbeat` when it is received
   */
  sendHeartbeat(nowMs: number): void {
    this.#client.publish(this.#heartbeatChannel, String(nowMs)).catch(() => {});
  }

  /** Sends a PING, so that the socket timeout detects a connection whose peer has vanished. */
  ping(): void {
    this.#subscriber.ping().catch(() => {});
  }

  close(): void {
    this.#subscriber.disconnect();
  }
}
