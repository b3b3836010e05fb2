import { randomUUID } from "node:crypto";
import { BlockList } from "node:net";
import { expect, inject, onTestFinished } from "vitest";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import { TrackerService } from "../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { createLimiter } from "../../../src/infra/rate-limit/limiter.ts";
import { openRedis } from "../../../src/infra/redis/redis.ts";
import { HOUR_MS } from "../../../src/kernel/durations.ts";
import { readPolicies } from "../../../src/rpc/policy/read-policies.ts";
import {
  type CallRateLimiter,
  createCallRateLimiter,
} from "../../../src/rpc/rate-limit/call-rate-limiter.ts";
import type { ClassBudget } from "../../../src/rpc/rate-limit/class-budgets.ts";
import { silentLog } from "../log.ts";
import { type RpcServer, type RpcServerOptions, startRpcServer } from "./rpc-server.ts";

/** The units of each class in an hour. A class that is not given is never exhausted. */
export interface HourlyBudgets {
  READ?: number;
  WRITE?: number;
  INGEST?: number;
  AUTH?: number;
  REGISTER?: number;
}

/** Timeout of Redis before the limiter counts locally, in milliseconds: longer than a busy machine ever delays it. */
const REDIS_TIMEOUT_MS = 60_000;

/** Opens a rate limiter that shares its counts with no other. */
export async function openRateLimiter(
  budgets: HourlyBudgets,
  serviceMultiplier = 100,
): Promise<CallRateLimiter> {
  const redis = openRedis(inject("redisUrl"), silentLog);
  const limiter = createLimiter({
    redis: redis.client,
    namespace: randomUUID(),
    log: silentLog,
    timeoutMs: REDIS_TIMEOUT_MS,
  });
  onTestFinished(async () => {
    limiter.close();
    await redis.close();
  });
  await expect.poll(() => limiter.isShared).toBe(true);
  const hourly = (units = 1_000_000): ClassBudget => ({ units, windowMs: HOUR_MS, failClosed: false });
  return createCallRateLimiter({
    limiter,
    budgets: {
      READ: hourly(budgets.READ),
      WRITE: hourly(budgets.WRITE),
      INGEST: hourly(budgets.INGEST),
      AUTH: hourly(budgets.AUTH),
      REGISTER: hourly(budgets.REGISTER),
    },
    sharedMultiplier: 4,
    accountMultiplier: 10,
    serviceMultiplier,
    policies: readPolicies([CatalogService, OrderService, TrackerService]).values(),
  });
}

/** Starts a server that enforces these budgets. */
export async function startRateLimitedServer(
  budgets: HourlyBudgets,
  options: RpcServerOptions = {},
): Promise<RpcServer> {
  return startRpcServer({ rateLimiter: await openRateLimiter(budgets), ...options });
}

/** Returns the trusted proxies of a server that trusts the X-Forwarded-For of this machine. */
export function trustLocalhost(): BlockList {
  const proxies = new BlockList();
  proxies.addAddress("127.0.0.1", "ipv4");
  return proxies;
}
