import { randomUUID } from "node:crypto";
import { expect, inject, onTestFinished } from "vitest";
import {
  type Budget,
  createLimiter,
  type Decision,
  type Limiter,
} from "../../../src/infra/rate-limit/limiter.ts";
import { openRedis } from "../../../src/infra/redis/redis.ts";
import { silentLog } from "../log.ts";
import type { RedisServer } from "../stores/redis-server.ts";

/** A monotonic clock that only the test advances. */
export interface ManualClock {
  nowMs(): number;
  advance(ms: number): void;
}

export function createManualClock(): ManualClock {
  let currentMs = 1_000_000;
  return {
    nowMs: () => currentMs,
    advance(ms) {
      currentMs += ms;
    },
  };
}

export interface OpenOptions {
  /** Defaults to the Redis server of all tests. */
  url?: string;
  nowMs?: () => number;
  /** Defaults to a time that a busy machine never exceeds. */
  timeoutMs?: number;
}

/** Opens the limiters of several replicas and waits until they share their budgets. */
export async function openLimiters(
  count: number,
  { url = inject("redisUrl"), timeoutMs = 30_000, ...clock }: OpenOptions = {},
): Promise<Limiter[]> {
  const namespace = randomUUID();
  return Promise.all(
    Array.from({ length: count }, async () => {
      const redis = openRedis(url, silentLog);
      const limiter = createLimiter({ redis: redis.client, namespace, log: silentLog, timeoutMs, ...clock });
      onTestFinished(async () => {
        limiter.close();
        await redis.close();
      });
      await expect.poll(() => limiter.isShared).toBe(true);
      return limiter;
    }),
  );
}

/** Opens the limiters of two replicas. */
export async function openTwoLimiters(options?: OpenOptions): Promise<[Limiter, Limiter]> {
  const [first, second] = await openLimiters(2, options);
  if (first === undefined || second === undefined) throw new Error("two limiters were not opened");
  return [first, second];
}

export async function openLimiter(options?: OpenOptions): Promise<Limiter> {
  const [limiter] = await openLimiters(1, options);
  if (limiter === undefined) throw new Error("no limiter was opened");
  return limiter;
}

/** Returns a budget that fails open. */
export const createBudget = (units: number, windowMs = 60_000): Budget => ({
  name: "READ:address",
  units,
  windowMs,
  failClosed: false,
});

export const countAllowed = (decisions: readonly Decision[]) =>
  decisions.filter(({ allowed }) => allowed).length;

/** Spends concurrently under one key. */
export async function spendConcurrently(
  limiter: Limiter,
  budget: Budget,
  count: number,
  cost = 1,
): Promise<Decision[]> {
  return Promise.all(Array.from({ length: count }, async () => limiter.spend(budget, "a", cost)));
}

/** Returns how many scripts the server has run. */
export async function countScripts(server: RedisServer): Promise<number> {
  const stats = String(await server.command("info", "commandstats"));
  const counts = [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)];
  return counts.reduce((sum, [, calls]) => sum + Number(calls), 0);
}
