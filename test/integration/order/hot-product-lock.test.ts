import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { sql } from "kysely";
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFinished, test } from "vitest";
import { entities } from "../../../src/entities.ts";
import type { BatchDatabase } from "../../../src/infra/batch-writer/batch-writer.ts";
import { type Database, openPostgres, type Tx } from "../../../src/infra/postgres/postgres.ts";
import { prepareDynamic } from "../../../src/infra/postgres/statement.ts";
import { openRedis, type RedisConnection } from "../../../src/infra/redis/redis.ts";
import { RedisLock } from "../../../src/infra/redis/redis-lock.ts";
import { createInventory } from "../../../src/inventory/inventory.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { HOT_ORDERS, lockHotProducts } from "../../../src/order/placement/hot-product-lock.ts";
import { type Placement, toPlacement } from "../../../src/order/placement/placement.ts";
import { silentLog } from "../../support/log.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";

let shop: TestShop;
let db: Database;
let redis: RedisConnection;
let namespace: string;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
  const limits = { poolMax: 10, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  db = await openPostgres({ url: shop.database.url, entities, ...limits, log: silentLog });
  redis = openRedis(inject("redisUrl"), silentLog, 60_000);
  await once(redis.client, "ready");
});
beforeEach(async () => {
  namespace = randomUUID();
  productId = await makeProduct(shop, { stock: 1n });
});
afterAll(async () => {
  await redis.close();
  await db.close();
  await shop.close();
});

/** A replica with the numbers of its transactions and of its requests for the lock. */
interface Replica extends BatchDatabase<Placement> {
  transactions: number;
  requested: string[][];
}

/** @param begin runs before each transaction */
function openReplica({
  leaseMs = 600_000,
  waitMs = 600_000,
  begin = async (_number: number) => {},
} = {}): Replica {
  const lock = new RedisLock({
    redis: redis.client,
    namespace,
    name: "lock",
    leaseMs,
    waitMs,
    log: silentLog,
  });
  const replica: Replica = {
    transactions: 0,
    requested: [],
    ...lockHotProducts({
      inventory: createInventory({ clock: systemClock }),
      lock: {
        acquire(names, options) {
          replica.requested.push([...names]);
          return lock.acquire(names, options);
        },
      },
      db: {
        async transact(call, work) {
          replica.transactions += 1;
          await begin(replica.transactions);
          return db.transact(call, work);
        },
      },
    }),
  };
  return replica;
}

/** Returns orders that share products. */
function ordersOf(productIds: readonly string[], count = HOT_ORDERS): Placement[] {
  const caller = { owner: "", clientAddress: "", actor: "SYSTEM", isAnonymous: false };
  const request = { ...caller, requestId: "", reservationSeconds: null };
  const items = productIds.map((id) => ({ productId: id, quantity: 1n }));
  return Array.from({ length: count }, (_, index) =>
    toPlacement({ customerId: "", promotionId: "", items }, { ...request, orderId: String(index) }),
  );
}

/** Changes the stock. Returns the token that the database has recorded for the change. */
async function write(tx: Tx): Promise<string | undefined> {
  await tx.query(
    prepareDynamic(sql`update inventory set version = version + 1 where product_id = ${productId}`),
  );
  const [row] = await tx.query(
    prepareDynamic(sql<{ token: string }>`select token from stock_fence where product_id = ${productId}`),
  );
  return row?.token;
}

const writeAt = (replica: Replica) =>
  replica.transact(internalCall(), write, { items: ordersOf([productId]) });

async function storedVersion(): Promise<string | undefined> {
  const [row] = await shop.database.query<{ version: string }>(
    "select version from inventory where product_id = $1",
    [productId],
  );
  return row?.version;
}

test("a holder that pauses past its lease writes nothing under its token, and is repeated with a new one", async () => {
  const pause = Promise.withResolvers<void>();
  const paused = openReplica({
    leaseMs: 50,
    begin: async (number) => (number === 1 ? pause.promise : undefined),
  });
  const other = openReplica();
  const late = writeAt(paused);
  await expect.poll(() => paused.transactions).toBe(1);
  expect(await writeAt(other)).toBe("2");
  expect(await storedVersion()).toBe("2");
  pause.resolve();
  expect(await late).toBe("3");
  expect(paused.transactions).toBe(2);
  expect(await storedVersion()).toBe("3");
});

test("a holder whose lease has ended writes if no later holder has written before", async () => {
  const pause = Promise.withResolvers<void>();
  const paused = openReplica({ leaseMs: 1, begin: () => pause.promise });
  const late = writeAt(paused);
  await expect.poll(() => redis.client.exists(`cartwright:{${namespace}}:lock:${productId}`)).toBe(0);
  pause.resolve();
  expect(await late).toBe("1");
  expect(paused.transactions).toBe(1);
});

test("after Redis has lost the counter, one batch is repeated and the next ones are not", async () => {
  const replica = openReplica();
  for (const token of ["1", "2", "3"]) expect(await writeAt(replica)).toBe(token);
  const keys = await redis.client.keys(`cartwright:{${namespace}}:*`);
  await redis.client.del(keys);
  expect(await writeAt(replica)).toBe("4");
  expect(replica.transactions).toBe(5);
  expect(await writeAt(replica)).toBe("5");
  expect(replica.transactions).toBe(6);
});

test("a batch that waits too long for the lock is written without it", async () => {
  const held = Promise.withResolvers<void>();
  const holder = openReplica({ begin: () => held.promise });
  const first = writeAt(holder);
  await expect.poll(() => holder.transactions).toBe(1);
  const other = openReplica({ waitMs: 0 });
  expect(await writeAt(other)).toBeUndefined();
  held.resolve();
  expect(await first).toBe("1");
  expect(await storedVersion()).toBe("3");
});

test("an error of the transaction releases the lock", async () => {
  const replica = openReplica();
  const failing = replica.transact(
    internalCall(),
    async () => {
      throw new Error("refused");
    },
    { items: ordersOf([productId]) },
  );
  await expect(failing).rejects.toThrow("refused");
  expect(replica.transactions).toBe(1);
  expect(await writeAt(openReplica())).toBe("2");
});

test("only products that many orders of the batch share are locked, in id order", async () => {
  const [a, b, c] = [randomUUID(), randomUUID(), randomUUID()].sort() as [string, string, string];
  const replica = openReplica();
  onTestFinished(() => expect(replica.transactions).toBe(2));
  const work = async () => {};
  await replica.transact(internalCall(), work, { items: ordersOf([c], HOT_ORDERS - 1) });
  expect(replica.requested).toEqual([]);
  await replica.transact(internalCall(), work, {
    items: [...ordersOf([c, a]), ...ordersOf([b], HOT_ORDERS - 1)],
  });
  expect(replica.requested).toEqual([[a, c]]);
});
