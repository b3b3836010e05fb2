import { randomUUID } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { OrderSchema } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { hashJson } from "../../../src/kernel/canonical-json.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

test("20 concurrent requests with one request_id place one order", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const responses = await Promise.all(Array.from({ length: 20 }, () => shop.orders.createOrder(request)));
  expect(new Set(responses.map((response) => response.order?.id)).size).toBe(1);
  expect(responses.filter((response) => !response.replayed)).toHaveLength(1);
  expect(await stockOf(shop, productId)).toBe(99n);
});

test("the same request_id of two customers identifies two requests", async () => {
  const productId = await makeProduct(shop, { stock: 10n });
  const [one, two] = [await makeCustomer(shop), await makeCustomer(shop)];
  const order = (customerId: string) => ({ customerId, items: [{ productId, quantity: 1n }] });
  const requestId = randomUUID();
  const first = await shop.orders.createOrder({ requestId, order: order(one) });
  const second = await shop.orders.createOrder({ requestId, order: order(two) });
  expect(second.order?.id).not.toBe(first.order?.id);
});

test("of concurrent requests with one request_id and two bodies, those with one of the bodies are placed once", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  const requestId = randomUUID();
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const quantity = BigInt(1 + (index % 2));
      const call = shop.orders.createOrder({ requestId, order: { items: [{ productId, quantity }] } });
      return call.then(
        ({ order }) => `${order?.id} of ${quantity}`,
        () => failureOf(call).then(({ reason }) => reason),
      );
    }),
  );
  const placed = outcomes.filter((outcome) => outcome !== "REQUEST_ID_REUSED");
  expect(placed).toHaveLength(10);
  expect(new Set(placed).size).toBe(1);
});

test("a request_id in upper case identifies the same request", async () => {
  const productId = await makeProduct(shop, { stock: 10n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const { order } = await shop.orders.createOrder(request);
  const again = await shop.orders.createOrder({ ...request, requestId: request.requestId.toUpperCase() });
  expect(again).toMatchObject({ replayed: true, order: { id: order?.id } });
});

test("the request stands on the order itself: a repeat needs no other row, and returns the names and prices at the time of the order", async () => {
  const productId = await makeProduct(shop, { stock: 10n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 3n }] } };
  const first = await shop.orders.createOrder(request);
  expect(await shop.database.query("select from idempotency where method = 'CreateOrder'")).toEqual([]);
  const price = { currencyCode: "EUR", minorUnits: 9_999n };
  await shop.catalog.updateProduct({ product: { id: productId, name: "Renamed", price } });
  await shop.orders.cancelOrder({ id: first.order?.id ?? "" });
  await shop.catalog.deleteProduct({ id: productId });
  const again = await shop.orders.createOrder(request);
  if (first.order === undefined || again.order === undefined) throw new Error("no order");
  expect(toBinary(OrderSchema, again.order)).toEqual(toBinary(OrderSchema, first.order));
});

test("a repeat for a customer who was deleted meanwhile returns the first response", async () => {
  const [productId, customerId] = [await makeProduct(shop, { stock: 10n }), await makeCustomer(shop)];
  const createRequest = () => ({
    requestId: randomUUID(),
    order: { customerId, items: [{ productId, quantity: 1n }] },
  });
  const request = createRequest();
  const { order } = await shop.orders.createOrder(request);
  await shop.customers.deleteCustomer({ id: customerId });
  expect(await shop.orders.createOrder(request)).toMatchObject({ replayed: true, order });
  expect(await failureOf(shop.orders.createOrder(createRequest()))).toMatchObject({
    reason: "CUSTOMER_DELETED",
  });
  expect(await stockOf(shop, productId)).toBe(9n);
});

test("an order with a fingerprint of an older version is repeated for the same request only", async () => {
  const productId = await makeProduct(shop, { stock: 10n });
  const items = [{ productId, quantity: 1n }];
  const request = { requestId: randomUUID(), order: { items } };
  const { order } = await shop.orders.createOrder(request);
  const older = hashJson({ customerId: "", promotionId: "", items });
  await shop.database.query("update orders set fingerprint = $1 where id = $2", [older, order?.id]);
  expect(await shop.orders.createOrder(request)).toMatchObject({ replayed: true, order: { id: order?.id } });
  const other = { ...request, order: { items: [{ productId, quantity: 2n }] } };
  expect(await failureOf(shop.orders.createOrder(other))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
});

test("a rejected order does not use its request_id", async () => {
  const productId = await makeProduct(shop, { stock: 0n });
  const requestId = randomUUID();
  const request = (quantity: bigint) => ({ requestId, order: { items: [{ productId, quantity }] } });
  expect(await failureOf(shop.orders.createOrder(request(1n)))).toMatchObject({ reason: "OUT_OF_STOCK" });
  await shop.catalog.adjustStock({ productId, delta: 5n, reason: 2 });
  const { order, replayed } = await shop.orders.createOrder(request(2n));
  expect([order?.items[0]?.quantity, replayed]).toEqual([2n, false]);
});

test("orders of one product that arrive together are decided in their order, and a rejected one takes nothing", async () => {
  const productId = await makeProduct(shop, { stock: 10n });
  const quantities = [4n, 7n, 5n, 2n, 1n];
  const outcomes = await Promise.allSettled(
    quantities.map((quantity) =>
      shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity }] } }),
    ),
  );
  const sold = quantities.filter((_, index) => outcomes[index]?.status === "fulfilled");
  expect(sold.reduce((sum, quantity) => sum + quantity, 0n)).toBe(10n);
  expect(await stockOf(shop, productId)).toBe(0n);
});

test("validate_only waits for no lock and writes nothing", async () => {
  const productId = await makeProduct(shop, { stock: 10n });
  const customerId = await makeCustomer(shop);
  const request = { requestId: randomUUID(), order: { customerId, items: [{ productId, quantity: 1n }] } };
  await shop.database.query("begin");
  await shop.database.query("select from inventory where product_id = $1 for update", [productId]);
  await shop.database.query("select from customer where id = $1 for update", [customerId]);
  await shop.database.query("lock table orders, order_item, stock_movement in share mode");
  const { order } = await shop.orders.createOrder({ ...request, validateOnly: true });
  await shop.database.query("rollback");
  expect(order?.totalPrice?.minorUnits).toBe(1_000n);
});
