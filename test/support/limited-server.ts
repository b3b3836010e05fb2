import { randomUUID } from "node:crypto";
import { BlockList } from "node:net";
import { expect, inject, onTestFinished } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { createLimiter } from "../../src/infra/rate-limit/limiter.ts";
import { openRedis } from "../../src/infra/redis/redis.ts";
import { readPolicies } from "../../src/rpc/policy/read-policies.ts";
import { type CallRateLimiter, createCallRateLimiter } from "../../src/rpc/rate-limit/call-rate-limiter.ts";
import type { ClassBudget } from "../../src/rpc/rate-limit/class-budgets.ts";
import { silentLog } from "./log.ts";
import { type Fixture, type FixtureOptions, start } from "./rpc-server.ts";

export interface Budgets {
  READ?: number;
  WRITE?: number;
  INGEST?: number;
  AUTH?: number;
  windowMs?: number;
}

/** Limits of a shop of a test's own. Budgets that are not given are never spent. */
export async function openLimits(budgets: Budgets, serviceTimes = 100): Promise<CallRateLimiter> {
  const { windowMs = 60_000 } = budgets;
  const redis = openRedis(inject("redisUrl"), silentLog);
  const limiter = createLimiter({
    redis: redis.client,
    namespace: randomUUID(),
    log: silentLog,
    timeoutMs: 30_000,
  });
  onTestFinished(async () => {
    limiter.close();
    await redis.close();
  });
  await expect.poll(() => limiter.isShared).toBe(true);
  const of = (units = 1_000_000): ClassBudget => ({ units, windowMs, failClosed: false });
  return createCallRateLimiter({
    limiter,
    budgets: {
      READ: of(budgets.READ),
      WRITE: of(budgets.WRITE),
      INGEST: of(budgets.INGEST),
      AUTH: of(budgets.AUTH),
    },
    signedInTimes: 10,
    serviceTimes,
    policies: readPolicies([CatalogService, OrderService, TrackerService]).values(),
  });
}

/** A server that holds its callers to these budgets. */
export async function startLimited(budgets: Budgets, options: FixtureOptions = {}): Promise<Fixture> {
  return start({ rateLimiter: await openLimits(budgets), ...options });
}

/** Believes what this machine says of whom it calls for. */
export function localProxy(): BlockList {
  const proxies = new BlockList();
  proxies.addAddress("127.0.0.1", "ipv4");
  return proxies;
}
