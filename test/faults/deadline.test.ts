import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { failureOf } from "../support/errors.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";
import {
  countBusyConnections,
  countLockWaits,
  flushStatistics,
  whileLocked,
} from "../support/stores/database-activity.ts";
import { findViolations } from "../support/stores/invariants.ts";

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
});
beforeEach(async () => {
  productId = await makeProduct(shop, { stock: 10n });
});
afterEach(async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
  // Consumers of the outbox have transactions of their own.
  await expect.poll(() => countBusyConnections(shop.database)).toBe(0);
});
afterAll(() => shop.close());

const countOrders = async () => (await shop.database.query("select from orders")).length;
const createRequest = () => ({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } });

test.each(["gRPC", "Connect JSON"] as const)(
  "a deadline that passes before the commit rolls the transaction back over %s",
  async (protocol) => {
    const clients = protocol === "gRPC" ? shop : shop.json;
    const before = await countOrders();
    await whileLocked(shop.database, productId, async () => {
      const call = clients.orders.createOrder(createRequest(), { timeoutMs: 300 });
      expect(await failureOf(call)).toMatchObject({ code: "DeadlineExceeded" });
      // The waiting statement is cancelled although the row is still locked.
      await expect.poll(() => countBusyConnections(shop.database)).toBe(0);
    });
    expect(await countOrders()).toBe(before);
    expect(await stockOf(shop, productId)).toBe(10n);
  },
);

test.each(["gRPC", "Connect JSON"] as const)(
  "a deadline that passes while orders are written responds OUTCOME_UNKNOWN over %s, and a repeat returns the order",
  async (protocol) => {
    const clients = protocol === "gRPC" ? shop : shop.json;
    const request = createRequest();
    await shop.database.query("begin");
    await shop.database.query("lock table order_item in share mode");
    const other = shop.orders.createOrder(createRequest());
    const failure = failureOf(clients.orders.createOrder(request, { timeoutMs: 1_000 }));
    await expect.poll(() => countLockWaits(shop.database)).toBe(1);
    expect(await failure).toMatchObject({ code: "DeadlineExceeded" });
    // The batch goes on: it repeats its statement, since a wait for a lock is short.
    await expect.poll(() => countLockWaits(shop.database)).toBe(1);
    await shop.database.query("rollback");
    expect(await other).toMatchObject({ replayed: false });
    const { order } = await clients.orders.createOrder(request);
    expect(order?.items[0]?.productId).toBe(productId);
    expect(await stockOf(shop, productId)).toBe(8n);
  },
);

test("cancelled calls roll their transactions back", async () => {
  const before = await countOrders();
  await whileLocked(shop.database, productId, async () => {
    const controller = new AbortController();
    const calls = Array.from({ length: 15 }, () =>
      shop.orders.createOrder(createRequest(), { signal: controller.signal }),
    );
    await expect.poll(() => countBusyConnections(shop.database)).toBeGreaterThan(0);
    controller.abort();
    await Promise.allSettled(calls);
    await expect.poll(() => countBusyConnections(shop.database)).toBe(0);
  });
  expect(await countOrders()).toBe(before);
  expect(await stockOf(shop, productId)).toBe(10n);
});

test("a transaction with serialization failures runs at most three times before the call fails with ABORTED", async () => {
  // The trigger fails as many times as the setting says. The sequence counts them, since it is not rolled back.
  await shop.database.query("create sequence failures");
  await shop.database.query(`
    create function fail_first() returns trigger language plpgsql as $$
    begin
      if nextval('failures') <= current_setting('test.failures')::int then
        raise exception 'conflict' using errcode = 'serialization_failure';
      end if;
      return new;
    end $$`);
  await shop.database.query(
    "create trigger fail_first before insert on orders for each row execute function fail_first()",
  );
  const name = new URL(shop.database.url).pathname.slice(1);
  const failFirst = async (times: number) => {
    await shop.database.query(`alter database ${name} set test.failures = ${times}`);
    await shop.database.query("alter sequence failures restart");
    // Settings of a database apply to new connections.
    await flushStatistics(shop.database);
    await expect
      .poll(() =>
        shop.orders.listOrders({ pageSize: 1 }).then(
          () => "reconnected",
          (error: unknown) => String(error),
        ),
      )
      .toBe("reconnected");
  };
  const before = await countOrders();
  await failFirst(2);
  await shop.orders.createOrder(createRequest());
  expect(await countOrders()).toBe(before + 1);
  await failFirst(3);
  expect(await failureOf(shop.orders.createOrder(createRequest()))).toMatchObject({
    code: "Aborted",
    reason: "CONTENTION",
  });
  expect(await countOrders()).toBe(before + 1);
  await shop.database.query("drop trigger fail_first on orders");
  expect(await stockOf(shop, productId)).toBe(9n);
});
