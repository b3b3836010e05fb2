import { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";

/** The connection to the Redis-protocol server that replicas share. The service works without it. */
export interface RedisConnection {
  readonly client: Redis;
  /** Returns whether the server responds to a PING within the command timeout. */
  isUp(): Promise<boolean>;
  close(): Promise<void>;
}

/** Short, so that a call is no slower with an unavailable Redis than without Redis. */
const COMMAND_TIMEOUT_MS = 50;
const CONNECT_TIMEOUT_MS = 2_000;
/** A connection that receives no response for so long is closed: its peer may have vanished. */
const SOCKET_TIMEOUT_MS = 1_000;
const RECONNECT_STEP_MS = 50;
/**
 * Minimum interval between reconnections to a server that rejects writes as a read-only replica, in milliseconds. After
 * a failover the address leads to another server.
 */
export const READ_ONLY_RECONNECT_MS = 2_000;
/** The longest delay between two attempts to connect, in milliseconds. */
export const MAX_RECONNECT_DELAY_MS = 250;

/**
 * Connects in the background and reconnects without limit. Commands fail immediately while there is no connection.
 * @param commandTimeoutMs time limit for a response
 */
export function openRedis(url: string, log: Log, commandTimeoutMs = COMMAND_TIMEOUT_MS): RedisConnection {
  let reconnectedAtMs = Number.NEGATIVE_INFINITY;
  const client = new Redis(url, {
    // By default ioredis queues commands while the server is unavailable, for 10 s and more.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeoutMs,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: Math.max(SOCKET_TIMEOUT_MS, commandTimeoutMs),
    retryStrategy: (attempt) => Math.min(attempt * RECONNECT_STEP_MS, MAX_RECONNECT_DELAY_MS),
    reconnectOnError({ message }) {
      const nowMs = performance.now();
      if (!message.startsWith("READONLY") || nowMs - reconnectedAtMs < READ_ONLY_RECONNECT_MS) return false;
      reconnectedAtMs = nowMs;
      return true;
    },
  });
  let loggedState: "connected" | "disconnected" | undefined;
  let isClosing = false;
  const logState = (state: "connected" | "disconnected", error?: Error) => {
    if (state === loggedState || isClosing) return;
    loggedState = state;
    if (state === "connected") log.info({}, "Redis connected");
    else log.warn({ err: error }, "Redis disconnected; continuing without it");
  };
  client.on("ready", () => logState("connected"));
  client.on("error", (error: Error) => logState("disconnected", error));
  client.on("close", () => logState("disconnected"));

  return {
    client,
    async isUp() {
      try {
        return (await client.ping()) === "PONG";
      } catch {
        return false;
      }
    },
    async close() {
      isClosing = true;
      client.disconnect();
    },
  };
}
