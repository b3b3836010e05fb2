import { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";

/** The Redis-protocol server that replicas share. The shop goes on without it. */
export interface RedisConnection {
  readonly client: Redis;
  /** Whether it answers at this moment, within its command timeout. */
  isUp(): Promise<boolean>;
  close(): Promise<void>;
}

// A command that takes longer than this is given up: what Redis speeds up must not slow down by it.
const COMMAND_TIMEOUT_MS = 50;
const CONNECT_TIMEOUT_MS = 2_000;
// A connection that has not answered for so long may have no other end.
const DEAD_MS = 1_000;
/** The longest that a client waits between two tries to connect, milliseconds. */
export const MAX_RECONNECT_DELAY_MS = 250;

/** Connects in the background and keeps reconnecting; commands fail at once while there is no connection. */
export function openRedis(url: string, log: Log): RedisConnection {
  const client = new Redis(url, {
    // With its defaults ioredis would hold commands back for as long as the server is away.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: DEAD_MS,
    retryStrategy: (attempt) => Math.min(attempt * 50, MAX_RECONNECT_DELAY_MS),
  });
  let up: boolean | undefined;
  let closing = false;
  const say = (now: boolean, error?: Error) => {
    if (up === now || closing) return;
    up = now;
    if (now) log.info({}, "redis is connected");
    else log.warn({ err: error }, "redis is away; going on without it");
  };
  client.on("ready", () => say(true));
  client.on("error", (error: Error) => say(false, error));
  client.on("close", () => say(false));

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
      closing = true;
      client.disconnect();
    },
  };
}
