import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";

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
});
afterAll(() => shop.close());

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
    "insert into orders (id, state, currency, total_minor, owner, request_id, version, created_at, updated_at) select gen_random_uuid(), state, currency, total_minor, owner, request_id, version, created_at, updated_at from orders where id = $1",
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
