import type { Config } from "./config.ts";
import { entities } from "./entities.ts";
import { withAuditLog } from "./infra/audit/audit.ts";
import { InvalidationBus } from "./infra/cache/invalidation-bus.ts";
import type { Stores } from "./infra/embedded/stores.ts";
import { type Jobs, openJobs } from "./infra/jobs/jobs.ts";
import { withInvalidationOutbox } from "./infra/outbox/invalidation/invalidation-outbox.ts";
import { withOutbox } from "./infra/outbox/outbox.ts";
import { createOutboxTail, type OutboxTail } from "./infra/outbox/tail/outbox-tail.ts";
import { createWakeUp, type WakeUp } from "./infra/outbox/wake-up.ts";
import { type ConfiguredGateway, createGateway } from "./infra/payment/create-gateway.ts";
import { type Database, openPostgres } from "./infra/postgres/postgres.ts";
import { getSharedSecret } from "./infra/postgres/secret/shared-secret.ts";
import { createLimiter, type Limiter } from "./infra/rate-limit/limiter.ts";
import { openRedis, type RedisConnection } from "./infra/redis/redis.ts";
import { RedisLock } from "./infra/redis/redis-lock.ts";
import { internalCall } from "./kernel/call.ts";
import type { Clock } from "./kernel/clock.ts";
import { createIds, type Ids } from "./kernel/ids.ts";
import type { Log } from "./kernel/log.ts";
import type { Readiness } from "./rpc/server/services/readiness.ts";

/** The lock of hot products: its lease, and the longest wait for it, in milliseconds. Batches take some tens of them. */
const STOCK_LOCK = { leaseMs: 1_000, waitMs: 200 };

/** The stores and libraries that features and the server are built on. */
export interface Infrastructure {
  db: Database;
  wakeUp: WakeUp;
  tail: OutboxTail;
  redis: RedisConnection;
  jobs: Jobs;
  bus: InvalidationBus;
  limiter: Limiter | undefined;
  stockLock: RedisLock | undefined;
  /** The gateway of new payments; undefined if orders are paid by hand only. */
  gateway: ConfiguredGateway | undefined;
  ids: Ids;
  clock: Clock;
  log: Log;
}

/**
 * Connects to the stores.
 * @param cleanups receives the functions that close what was opened, to be called last first
 */
export async function openInfrastructure(
  config: Config,
  stores: Stores,
  { clock, log }: { clock: Clock; log: Log },
  cleanups: (() => Promise<void>)[],
): Promise<Infrastructure> {
  const connections = await openPostgres({
    url: stores.databaseUrl,
    entities,
    poolMax: config.dbPoolMax,
    poolWaitMs: config.dbPoolWaitMs,
    statementTimeoutMs: config.dbStatementTimeoutMs,
    log,
  });
  cleanups.push(() => connections.close());
  const redis = openRedis(stores.redisUrl, log);
  cleanups.push(() => redis.close());
  const namespace = (await getSharedSecret(connections, internalCall(), "cache-namespace")).toString(
    "hex",
    0,
    8,
  );
  const bus = new InvalidationBus({ redis: redis.client, namespace, log });
  cleanups.push(async () => bus.close());
  const limiter = config.limits ? createLimiter({ redis: redis.client, namespace, log }) : undefined;
  cleanups.push(async () => limiter?.close());
  const stockLock = config.stockLock === "redis" ? createStockLock(config, redis, namespace, log) : undefined;
  const ids = createIds(clock);
  const jobs = await openJobs({ url: stores.databaseUrl, workers: config.workers, ids, log });
  cleanups.push(() => jobs.close());
  const audited = withAuditLog(connections, { ids, clock });
  const wakeUp = createWakeUp();
  const db = withInvalidationOutbox(withOutbox(audited, wakeUp), bus);
  const tail = createOutboxTail({ db, wakeUp, log });
  cleanups.push(() => tail.close());
  const gateway = await createGateway(config.payments, {
    db,
    ids,
    clock,
    log,
    statementTimeoutMs: config.dbStatementTimeoutMs,
    waitMs: config.dbPoolWaitMs,
  });
  return { db, wakeUp, tail, redis, jobs, bus, limiter, stockLock, gateway, ids, clock, log };
}

/** Creates the lock of hot products. Most of the time that a batch has is left for its statements. */
function createStockLock(
  { dbStatementTimeoutMs }: Config,
  { client }: RedisConnection,
  namespace: string,
  log: Log,
): RedisLock {
  const waitMs = Math.min(STOCK_LOCK.waitMs, dbStatementTimeoutMs / 8);
  return new RedisLock({ redis: client, namespace, name: "stock-lock", ...STOCK_LOCK, waitMs, log });
}

/** Returns whether calls can be served. Redis is optional: without it the service is slower, but serves every call. */
export async function readReadiness({ db, redis }: Pick<Infrastructure, "db" | "redis">): Promise<Readiness> {
  const isPostgresUp = db.ping().then(
    () => true,
    () => false,
  );
  const [ready, isRedisUp] = await Promise.all([isPostgresUp, redis.isUp()]);
  return { ready, checks: { postgres: stateName(ready), redis: stateName(isRedisUp) } };
}

const stateName = (up: boolean): string => (up ? "up" : "down");
