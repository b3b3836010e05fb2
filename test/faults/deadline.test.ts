import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { failureOf } from "../support/errors.ts";
import { findViolations } from "../support/invariants.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";

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
  expect(await openTransactions()).toBe(0);
});
afterAll(() => shop.close());

/** Connections of the shop that are in a transaction. */
async function openTransactions(): Promise<number> {
  // Within a transaction, such as the one that holds the row, this view would show its first answer for ever.
  await shop.database.query("select pg_stat_clear_snapshot()");
  const [row] = await shop.database.query<{ count: number }>(
    "select count(*)::int from pg_stat_activity where datname = current_database() and application_name = 'cartwright' and state <> 'idle'",
  );
  return row?.count ?? -1;
}

const ordersMade = async () => (await shop.database.query("select from orders")).length;
const requestOf = () => ({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } });

/** Holds the product's row, so that an order for it waits. */
async function withRowHeld(work: () => Promise<void>): Promise<void> {
  await shop.database.query("begin");
  await shop.database.query("select from product where id = $1 for update", [productId]);
  try {
    await work();
  } finally {
    await shop.database.query("rollback");
  }
}

test.each(["gRPC", "Connect JSON"] as const)(
  "a deadline that passes before the commit rolls back, over %s",
  async (protocol) => {
    const clients = protocol === "gRPC" ? shop : shop.json;
    const before = await ordersMade();
    await withRowHeld(async () => {
      const start = performance.now();
      const call = clients.orders.createOrder(requestOf(), { timeoutMs: 300 });
      expect(await failureOf(call)).toMatchObject({ code: "DeadlineExceeded" });
      expect(performance.now() - start).toBeLessThan(3_000);
      // The statement that waited has been cancelled: nothing of the order is left in the database.
      await expect.poll(openTransactions).toBe(0);
    });
    expect(await ordersMade()).toBe(before);
    expect(await stockOf(shop, productId)).toBe(10n);
  },
);

test("a caller who leaves takes the transaction along", async () => {
  const before = await ordersMade();
  await withRowHeld(async () => {
    const leave = new AbortController();
    const calls = Array.from({ length: 15 }, () =>
      shop.orders.createOrder(requestOf(), { signal: leave.signal }),
    );
    await expect.poll(openTransactions).toBeGreaterThan(0);
    leave.abort();
    await Promise.allSettled(calls);
    await expect.poll(openTransactions).toBe(0);
  });
  expect(await ordersMade()).toBe(before);
  expect(await stockOf(shop, productId)).toBe(10n);
});

test("a transaction that loses a race is run again, three times at most", async () => {
  // A real serialization failure from PostgreSQL, as often as is asked for: sequences are not rolled back.
  await shop.database.query("create sequence failures");
  await shop.database.query(`
    create function fail_some() returns trigger language plpgsql as $$
    begin
      if nextval('failures') <= current_setting('test.failures')::int then
        raise exception 'raced' using errcode = 'serialization_failure';
      end if;
      return new;
    end $$`);
  await shop.database.query(
    "create trigger fail_some before insert on orders for each row execute function fail_some()",
  );
  const name = new URL(shop.database.url).pathname.slice(1);
  const failFirst = async (times: number) => {
    await shop.database.query(`alter database ${name} set test.failures = ${times}`);
    await shop.database.query("alter sequence failures restart");
    // Settings of a database are read by new connections.
    await shop.database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cartwright'",
    );
    await sleep(100);
  };
  const before = await ordersMade();
  await failFirst(2);
  await shop.orders.createOrder(requestOf());
  expect(await ordersMade()).toBe(before + 1);
  await failFirst(3);
  expect(await failureOf(shop.orders.createOrder(requestOf()))).toMatchObject({
    code: "Aborted",
    reason: "CONTENTION",
  });
  expect(await ordersMade()).toBe(before + 1);
  await shop.database.query("drop trigger fail_some on orders");
  expect(await stockOf(shop, productId)).toBe(9n);
});
