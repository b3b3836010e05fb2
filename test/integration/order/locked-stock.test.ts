import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ DB_POOL_WAIT_MS: "20000", DB_STATEMENT_TIMEOUT_MS: "20000" });
});
afterAll(() => shop.close());

const order = (...productIds: string[]) =>
  shop.orders.createOrder(
    {
      requestId: randomUUID(),
      order: { items: productIds.map((productId) => ({ productId, quantity: 1n })) },
    },
    { timeoutMs: 25_000 },
  );

test("orders of other products are placed while another session holds the stock of two, whose orders follow", async () => {
  const products = await Promise.all(Array.from({ length: 6 }, () => makeProduct(shop, { stock: 100n })));
  const [one = "", two = "", ...free] = products;
  await shop.database.query("begin");
  await shop.database.query("select from inventory where product_id = any($1) for update", [[one, two]]);
  let responses = 0;
  const waiting = [one, two, one, two].map(async (id) => {
    const { order: placed } = await order(id, free[0] ?? "");
    responses += 1;
    return placed;
  });
  for (let round = 0; round < 5; round += 1) await Promise.all(free.map((id) => order(id)));
  expect(responses).toBe(0);
  await shop.database.query("rollback");
  await Promise.all(waiting);
  expect(await Promise.all([one, two, ...free].map((id) => stockOf(shop, id)))).toEqual([
    98n,
    98n,
    91n,
    95n,
    95n,
    95n,
  ]);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("a locked product row and a locked customer delay only the orders that need them", async () => {
  const [productId, other] = await Promise.all([
    makeProduct(shop, { stock: 1n }),
    makeProduct(shop, { stock: 100n }),
  ]);
  const [customerId, otherCustomerId] = await Promise.all([makeCustomer(shop), makeCustomer(shop)]);
  await shop.database.query("begin");
  await shop.database.query("select from product where id = $1 for update", [productId]);
  await shop.database.query("select from customer where id = $1 for update", [customerId]);
  const orderFor = (customer: string) =>
    shop.orders.createOrder(
      {
        requestId: randomUUID(),
        order: { customerId: customer, items: [{ productId: other, quantity: 1n }] },
      },
      { timeoutMs: 25_000 },
    );
  let responses = 0;
  const waiting = [order(productId), orderFor(customerId)].map(async (call) => {
    await call;
    responses += 1;
  });
  for (let round = 0; round < 3; round += 1) await Promise.all([order(other), orderFor(otherCustomerId)]);
  expect(responses).toBe(0);
  await shop.database.query("rollback");
  await Promise.all(waiting);
  expect(await stockOf(shop, productId)).toBe(0n);
});

test("an order whose product is still locked after the wait limit fails with ABORTED and a retry delay", async () => {
  const shortWait = await startShop({ DB_POOL_WAIT_MS: "300" });
  const productId = await makeProduct(shortWait, { stock: 1n });
  await shortWait.database.query("begin");
  await shortWait.database.query("select from inventory where product_id = $1 for update", [productId]);
  const call = shortWait.orders.createOrder({
    requestId: randomUUID(),
    order: { items: [{ productId, quantity: 1n }] },
  });
  expect(await failureOf(call)).toMatchObject({ code: "Aborted", reason: "CONTENTION" });
  await shortWait.database.query("rollback");
  await shortWait.close();
});
