import type { Redis } from "ioredis";
import { type Channels, encodeReplicaNumber, parseReplicaNumber } from "./messages.ts";

export interface SubscriptionHandlers {
  /** Called when the connection is open and is about to be subscribed. */
  onConnected(): void;
  onSubscribed(): void;
  onDisconnected(): void;
  /** Called when Redis rejects a heartbeat, for instance because it has become a read-only replica. */
  onHeartbeatRejected(): void;
  onInvalidation(message: string): void;
  /**
   * Called with a heartbeat of any replica.
   * @param sentAtMs the time that the replica passed to `sendHeartbeat`
   */
  onHeartbeat(replicaId: string, sentAtMs: number): void;
  onAcknowledgement(replicaId: string, sequence: number): void;
}

export interface SubscriptionOptions {
  /** Publishes the heartbeats; the subscription has a connection of its own to the same server. */
  client: Redis;
  channels: Channels;
  replicaId: string;
  handlers: SubscriptionHandlers;
}

/**
 * Publishes a heartbeat if Redis accepts writes. It writes without an effect, which a full server accepts too. A script,
 * because the four commands of a transaction take a process with an embedded Redis 1% of a core more.
 */
const HEARTBEAT_SCRIPT = "redis.call('UNLINK', KEYS[1]) return redis.call('PUBLISH', KEYS[1], ARGV[1])";

/**
 * A connection that is subscribed to invalidations, to the heartbeats of all replicas, and to acknowledgements for
 * this one. Redis delivers the messages of all channels in the order in which it has run their commands.
 */
export class RedisSubscription {
  readonly #options: SubscriptionOptions;
  readonly #subscriber: Redis;
  readonly #onClientClosed = () => this.reconnect();

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    const { client, channels, replicaId, handlers } = options;
    const acknowledgements = channels.acknowledgementsFor(replicaId);
    this.#subscriber = client.duplicate({ autoResubscribe: false, commandTimeout: undefined });
    // After a failover the client may reach another server than the subscription.
    client.on("close", this.#onClientClosed);
    this.#subscriber.on("ready", () => {
      handlers.onConnected();
      // The next connection subscribes again.
      this.#subscriber.subscribe(channels.invalidations, channels.heartbeats, acknowledgements).then(
        () => handlers.onSubscribed(),
        () => this.#subscriber.disconnect(true),
      );
    });
    this.#subscriber.on("close", () => handlers.onDisconnected());
    // The client that was duplicated logs errors.
    this.#subscriber.on("error", () => {});
    this.#subscriber.on("message", (channel: string, message: string) => {
      if (channel === channels.heartbeats) handlers.onHeartbeat(...parseReplicaNumber(message));
      else if (channel === acknowledgements) handlers.onAcknowledgement(...parseReplicaNumber(message));
      else handlers.onInvalidation(message);
    });
  }

  get isConnected(): boolean {
    return this.#subscriber.status === "ready";
  }

  /** Whether this process has a connection to Redis. If so, other replicas may have one too. */
  get isRedisReachable(): boolean {
    return this.#options.client.status === "ready" || this.isConnected;
  }

  /**
   * Sends a heartbeat to all replicas. It is sent only if Redis accepts writes: a read-only one publishes to its own
   * subscribers. If it fails, no heartbeat is received.
   * @param nowMs passed to `onHeartbeat` when it is received
   */
  sendHeartbeat(nowMs: number): void {
    const { client, channels, replicaId, handlers } = this.#options;
    client
      .eval(HEARTBEAT_SCRIPT, 1, channels.heartbeats, encodeReplicaNumber(replicaId, nowMs))
      .catch((error: unknown) => {
        if (error instanceof Error && error.name === "ReplyError") handlers.onHeartbeatRejected();
      });
  }

  /** Sends a PING, so that the socket timeout detects a connection whose peer has vanished. */
  ping(): void {
    this.#subscriber.ping().catch(() => {});
  }

  /** Replaces the connection by a new one. */
  reconnect(): void {
    if (this.isConnected) this.#subscriber.disconnect(true);
  }

  close(): void {
    this.#options.client.off("close", this.#onClientClosed);
    this.#subscriber.disconnect();
  }
}
