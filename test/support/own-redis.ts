import { onTestFinished } from "vitest";
import { type RedisServer, startRedisServer } from "./redis-server.ts";

/** Starts a Redis server that the test may break, and stops it when the test is finished. */
export async function startOwnRedis(folder?: string): Promise<RedisServer> {
  const server = await startRedisServer(folder);
  onTestFinished(() => server.stop());
  return server;
}
