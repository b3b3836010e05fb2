import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";
import { findViolations, invariantsQuery, type Violation } from "../../support/stores/invariants.ts";

let shop: TestShop;
let productId: string;
let orderId: string;
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 10n });
  const { promotion } = await shop.tracker.createPromotion({ promotion: { name: "Autumn" } });
  const order = { promotionId: promotion?.id ?? "", items: [{ productId, quantity: 2n }] };
  await shop.identity.register({ email: "ann@example.com", name: "Ann", password: "long enough" });
  orderId = (await shop.orders.createOrder({ requestId: randomUUID(), order })).order?.id ?? "";
  // Sales that are not counted yet are no violation.
  const counted = async () =>
    expect(await shop.database.query("select purchase_count from product_sales")).toHaveLength(1);
  await vi.waitFor(counted, { timeout: 30_000 });
});
afterAll(() => shop.close());

// Negative controls: each statement violates an invariant without the service, and the check must detect it.
test.each([
  ["I1", "update inventory set on_hand = on_hand + 1 where product_id = $1", () => productId],
  ["I1", "update inventory set reserved = reserved - 1 where product_id = $1", () => productId],
  ["I1", "update product set in_stock = false where id = $1", () => productId],
  ["I1", "update product set popularity = 0 where id = $1", () => productId],
  ["I1", "delete from stock_movement where product_id = $1 and reason = 'INITIAL'", () => productId],
  ["I1", "update product_sales set purchase_count = 0 where product_id = $1", () => productId],
  ["I2", "update orders set total_minor = total_minor + 1 where id = $1", () => orderId],
  ["I3", "update orders set request_id = gen_random_uuid() where id = $1", () => orderId],
  ["I5", "update purchase_total set sale_count = sale_count + 1 where product_id = $1", () => productId],
  ["I5", "delete from purchase where order_id = $1", () => orderId],
  ["I6", "delete from stock_movement where order_id = $1", () => orderId],
  ["I6", "delete from order_item where order_id = $1", () => orderId],
  ["I7", "update orders set state = 'CANCELLED' where id = $1", () => orderId],
  [
    "I7",
    "with cancelled as (update orders set state = 'CANCELLED' where id = $1) insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at) select product_id, -1, 'CANCEL', order_id, now(), now() from stock_movement where order_id = $1",
    () => orderId,
  ],
  [
    "I9",
    "insert into product_count select category_id, brand, currency, price_band(price_minor), 1, 1, 1 from product where id = $1",
    () => productId,
  ],
  [
    "I9",
    "delete from product_count_delta where category_id = (select category_id from product where id = $1)",
    () => productId,
  ],
  [
    "I9",
    "update product_count_delta set in_stock_count = 0 where category_id = (select category_id from product where id = $1)",
    () => productId,
  ],
])("the check detects a violation of %s: %s", async (invariant, statement, id) => {
  const { query } = shop.database;
  await query("begin");
  await query(statement, [id()]);
  const found = await query<Violation>(invariantsQuery);
  await query("rollback");
  expect(found.map((violation) => violation.invariant)).toContain(invariant);
});

test("a shop that was only used through its API has no violations", async () => {
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test.each([
  [
    "a valid refresh token of an ended session",
    "update session set ended_at = now() where $1::uuid is not null",
    () => orderId,
  ],
  ["negative stock", "update inventory set on_hand = -1 where product_id = $1", () => productId],
  ["a quantity of 0", "update order_item set quantity = 0 where order_id = $1", () => orderId],
  [
    "a second order for a request_id",
    "insert into orders select gen_random_uuid(), customer_id, state, currency, total_minor, promotion_id, request_id, version, created_at, updated_at from orders where id = $1",
    () => orderId,
  ],
  [
    "a second restock",
    "insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at) select product_id, 1, 'ORDER', order_id, now(), now() from stock_movement where order_id = $1",
    () => orderId,
  ],
  [
    "an order item without its product",
    "update order_item set product_id = gen_random_uuid() where order_id = $1",
    () => orderId,
  ],
  ["the removal of a product that orders refer to", "delete from product where id = $1", () => productId],
])("the constraints of the database reject %s", async (_name, statement, id) => {
  await expect(shop.database.query(statement, [id()])).rejects.toThrow(/violates/);
});
