import { onTestFinished } from "vitest";
import { type RedisServer, startRedisServer } from "./redis-server.ts";

/** Starts a Redis server for one test, which may break it, and stops it when the test is finished. */
export async function startDedicatedRedis(folder?: string): Promise<RedisServer> {
  const server = await startRedisServer(folder);
  onTestFinished(() => server.stop());
  return server;
}
