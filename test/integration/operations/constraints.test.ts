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

/** Movements of an order that change the wrong accounts, or lack the sequence of their event. */
const MOVEMENTS: readonly (readonly [
  name: string,
  onHand: number,
  reserved: number,
  reason: string,
  sequence: string,
])[] = [
  ["an order that releases units", 0, -1, "ORDER", "2"],
  ["a cancellation that reserves units", 0, 1, "CANCEL", "2"],
  ["an expiry that removes units", -1, -1, "EXPIRE", "2"],
  ["an expiry without the sequence of its event", 0, -1, "EXPIRE", "null"],
  ["a shipment that leaves units reserved", -1, 0, "SHIP", "2"],
  ["a shipment that releases more units than it removes", -1, -2, "SHIP", "2"],
  ["a return that reserves units", 1, 1, "ORDER_RETURN", "2"],
  ["a return that removes units", -1, 0, "ORDER_RETURN", "2"],
  ["a movement of an event before the first one", 0, -1, "CANCEL", "0"],
];

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
    "insert into orders (id, closing, currency, total_minor, owner, request_id, version, created_at, updated_at) select gen_random_uuid(), closing, currency, total_minor, owner, request_id, version, created_at, updated_at from orders where id = $1",
    () => orderId,
  ],
  [
    "a second restock",
    "insert into stock_movement (product_id, reserved_delta, reason, order_id, order_sequence, effective_at, created_at) select product_id, 1, 'ORDER', order_id, 1, now(), now() from stock_movement where order_id = $1",
    () => orderId,
  ],
  ...MOVEMENTS.map(([name, onHand, reserved, reason, sequence]): [string, string, () => string] => [
    name,
    `insert into stock_movement (product_id, on_hand_delta, reserved_delta, reason, order_id, order_sequence, effective_at, created_at) select product_id, ${onHand}, ${reserved}, '${reason}', order_id, ${sequence}, now(), now() from stock_movement where order_id = $1`,
    () => orderId,
  ]),
  [
    "an order item without its product",
    "update order_item set product_id = gen_random_uuid() where order_id = $1",
    () => orderId,
  ],
  ["the removal of a product that orders refer to", "delete from product where id = $1", () => productId],
])("the constraints of the database reject %s", async (_name, statement, id) => {
  await expect(shop.database.query(statement, [id()])).rejects.toThrow(/violates/);
});
