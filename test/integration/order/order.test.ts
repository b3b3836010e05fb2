import { randomUUID } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OrderEventType } from "../../../gen/cartwright/order/v1/order_event_pb.ts";
import {
  FulfillmentState,
  OrderSchema,
  OrderState,
  OrderTransition,
  PaymentState,
} from "../../../gen/cartwright/order/v1/order_pb.ts";
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

const missing = "00000000-0000-7000-8000-000000000000";

describe.each(["gRPC", "Connect JSON"] as const)("over %s", (protocol) => {
  const clients = () => (protocol === "gRPC" ? shop : shop.json);

  test("an order takes its units from stock and keeps the prices at which they were bought", async () => {
    const [a, b] = [
      await makeProduct(shop, { stock: 10n }),
      await makeProduct(shop, { stock: 5n, minorUnits: 250n }),
    ];
    const customerId = await makeCustomer(shop);
    const { order, replayed } = await clients().orders.createOrder({
      requestId: randomUUID(),
      order: {
        customerId,
        items: [
          { productId: b, quantity: 2n },
          { productId: a, quantity: 3n },
        ],
      },
    });
    expect(replayed).toBe(false);
    expect(order).toMatchObject({
      customerId,
      state: OrderState.PENDING,
      paymentState: PaymentState.UNPAID,
      fulfillmentState: FulfillmentState.UNFULFILLED,
      allowedTransitions: [
        OrderTransition.CANCEL,
        OrderTransition.MARK_PAID,
        OrderTransition.CANCEL_ITEMS,
        OrderTransition.SET_EXPIRE_TIME,
        OrderTransition.PAY,
      ],
      totalPrice: { currencyCode: "EUR", minorUnits: 3_500n },
    });
    expect(order?.items.map((item) => [item.productId, item.quantity, item.totalPrice?.minorUnits])).toEqual([
      [b, 2n, 500n],
      [a, 3n, 3_000n],
    ]);
    expect([await stockOf(shop, a), await stockOf(shop, b)]).toEqual([7n, 3n]);
    expect((await clients().orders.getOrder({ id: order?.id ?? "" })).order).toEqual(order);
  });

  test("a repeat with the same request_id returns the same bytes, even after a cancellation", async () => {
    const productId = await makeProduct(shop, { stock: 10n });
    const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
    const first = await clients().orders.createOrder(request);
    await clients().orders.cancelOrder({ id: first.order?.id ?? "" });
    const again = await clients().orders.createOrder(request);
    expect(again.replayed).toBe(true);
    if (first.order === undefined || again.order === undefined) throw new Error("no order");
    expect(toBinary(OrderSchema, again.order)).toEqual(toBinary(OrderSchema, first.order));
    expect(await stockOf(shop, productId)).toBe(10n);
  });

  test("a request_id that was used for another order is rejected", async () => {
    const productId = await makeProduct(shop, { stock: 10n });
    const requestId = randomUUID();
    await clients().orders.createOrder({ requestId, order: { items: [{ productId, quantity: 1n }] } });
    const second = clients().orders.createOrder({
      requestId,
      order: { items: [{ productId, quantity: 2n }] },
    });
    expect(await failureOf(second)).toMatchObject({ code: "InvalidArgument", reason: "REQUEST_ID_REUSED" });
    expect(await stockOf(shop, productId)).toBe(9n);
  });

  test("an order that exceeds the stock is rejected as a whole, and the error names each such product", async () => {
    const [a, b] = [await makeProduct(shop, { stock: 1n }), await makeProduct(shop, { stock: 0n })];
    const items = [
      { productId: a, quantity: 2n },
      { productId: b, quantity: 1n },
    ];
    const failure = await failureOf(
      clients().orders.createOrder({ requestId: randomUUID(), order: { items } }),
    );
    expect(failure).toMatchObject({
      code: "FailedPrecondition",
      reason: "OUT_OF_STOCK",
      preconditions: ["STOCK", "STOCK"],
    });
    expect(await stockOf(shop, a)).toBe(1n);
  });

  test("a cancellation returns the units to stock once", async () => {
    const productId = await makeProduct(shop, { stock: 4n });
    const requestId = randomUUID();
    const { order } = await clients().orders.createOrder({
      requestId,
      order: { items: [{ productId, quantity: 3n }] },
    });
    const id = order?.id ?? "";
    const cancels = await Promise.all(
      Array.from({ length: 10 }, () => clients().orders.cancelOrder({ id, etag: order?.etag ?? "" })),
    );
    expect(new Set(cancels.map((cancel) => cancel.order?.etag))).toEqual(new Set(["2"]));
    const { events } = await clients().orders.listOrderEvents({ id });
    expect(events.map(({ type }) => type)).toEqual([OrderEventType.PLACED, OrderEventType.CANCELLED]);
    expect(await stockOf(shop, productId)).toBe(4n);
    const { order: read } = await clients().orders.getOrder({ id });
    expect(read).toMatchObject({ state: OrderState.CANCELLED, allowedTransitions: [], etag: "2" });
  });

  test.each([
    ["a quantity of 0", { quantity: 0n }, "order.items[0].quantity"],
    ["a negative quantity", { quantity: -1n }, "order.items[0].quantity"],
    ["a quantity of 2^31", { quantity: 2n ** 31n }, "order.items[0].quantity"],
    ["a quantity that 32-bit decoders read as 1", { quantity: 2n ** 32n + 1n }, "order.items[0].quantity"],
    [
      "a product id that is no UUID",
      { quantity: 1n, productId: "'; drop table orders; --" },
      "order.items[0].product_id",
    ],
  ])("an order with %s is rejected", async (_name, item, field) => {
    const productId = await makeProduct(shop, { stock: 10n });
    const order = { items: [{ productId, ...item }] };
    const failure = await failureOf(clients().orders.createOrder({ requestId: randomUUID(), order }));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: [field] });
    expect(await stockOf(shop, productId)).toBe(10n);
  });

  test("an order without items or without request_id is rejected", async () => {
    const productId = await makeProduct(shop, { stock: 10n });
    const item = { productId, quantity: 1n };
    const create = (request: Parameters<TestShop["orders"]["createOrder"]>[0]) =>
      failureOf(clients().orders.createOrder(request));
    expect(await create({ requestId: randomUUID(), order: {} })).toMatchObject({ fields: ["order.items"] });
    expect(await create({ requestId: randomUUID() })).toMatchObject({ fields: ["order"] });
    expect(await create({ order: { items: [item] } })).toMatchObject({ fields: ["request_id"] });
  });

  test("items with the same product are added up to one item at the place of the first", async () => {
    const [a, b] = [await makeProduct(shop, { stock: 10n }), await makeProduct(shop, { stock: 10n })];
    const items = [
      { productId: b, quantity: 1n },
      { productId: a, quantity: 2n },
      { productId: b.toUpperCase(), quantity: 4n },
    ];
    const request = { requestId: randomUUID(), order: { items } };
    const { order } = await clients().orders.createOrder(request);
    expect(order?.items.map((item) => [item.productId, item.quantity, item.totalPrice?.minorUnits])).toEqual([
      [b, 5n, 5_000n],
      [a, 2n, 2_000n],
    ]);
    expect([await stockOf(shop, a), await stockOf(shop, b)]).toEqual([8n, 5n]);
    expect((await clients().orders.createOrder(request)).order).toEqual(order);
    const tooMany = [
      { productId: a, quantity: 10_000n },
      { productId: a, quantity: 1n },
    ];
    const failure = await failureOf(
      clients().orders.createOrder({ requestId: randomUUID(), order: { items: tooMany } }),
    );
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["order.items[1].quantity"] });
  });

  test("an unknown product, order or customer is NOT_FOUND", async () => {
    const order = { items: [{ productId: missing, quantity: 1n }] };
    expect(await failureOf(clients().orders.createOrder({ requestId: randomUUID(), order }))).toMatchObject({
      code: "NotFound",
      reason: "PRODUCT_NOT_FOUND",
    });
    expect(await failureOf(clients().orders.getOrder({ id: missing }))).toMatchObject({
      code: "NotFound",
      reason: "ORDER_NOT_FOUND",
    });
    expect(await failureOf(clients().orders.cancelOrder({ id: missing }))).toMatchObject({
      code: "NotFound",
    });
    const productId = await makeProduct(shop, { stock: 1n });
    const forUnknown = { customerId: missing, items: [{ productId, quantity: 1n }] };
    expect(
      await failureOf(clients().orders.createOrder({ requestId: randomUUID(), order: forUnknown })),
    ).toMatchObject({ code: "NotFound", reason: "CUSTOMER_NOT_FOUND" });
    expect(await stockOf(shop, productId)).toBe(1n);
  });
});

test("an order with too large an amount is rejected and takes nothing from stock", async () => {
  const productId = await makeProduct(shop, { stock: 10_000n, minorUnits: 10n ** 15n });
  const order = { items: [{ productId, quantity: 10_000n }] };
  expect(await failureOf(shop.orders.createOrder({ requestId: randomUUID(), order }))).toMatchObject({
    code: "InvalidArgument",
    reason: "AMOUNT_TOO_LARGE",
  });
  expect(await stockOf(shop, productId)).toBe(10_000n);
});

test("an order with products in two currencies is rejected", async () => {
  const euro = await makeProduct(shop, { stock: 1n });
  const yen = await makeProduct(shop, { stock: 1n, currencyCode: "JPY" });
  const items = [
    { productId: euro, quantity: 1n },
    { productId: yen, quantity: 1n },
  ];
  expect(
    await failureOf(shop.orders.createOrder({ requestId: randomUUID(), order: { items } })),
  ).toMatchObject({
    code: "FailedPrecondition",
    reason: "SEVERAL_CURRENCIES",
  });
});

test("an order by a deleted customer or of a deleted product is rejected", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const customerId = await makeCustomer(shop);
  await shop.customers.deleteCustomer({ id: customerId });
  const items = [{ productId, quantity: 1n }];
  expect(
    await failureOf(shop.orders.createOrder({ requestId: randomUUID(), order: { customerId, items } })),
  ).toMatchObject({
    code: "FailedPrecondition",
    reason: "CUSTOMER_DELETED",
  });
  await shop.catalog.deleteProduct({ id: productId });
  expect(
    await failureOf(shop.orders.createOrder({ requestId: randomUUID(), order: { items } })),
  ).toMatchObject({
    code: "FailedPrecondition",
    reason: "PRODUCT_DELETED",
  });
});

test("validate_only checks everything and changes nothing", async () => {
  const productId = await makeProduct(shop, { stock: 2n });
  const requestId = randomUUID();
  const request = { requestId, validateOnly: true, order: { items: [{ productId, quantity: 2n }] } };
  const { order } = await shop.orders.createOrder(request);
  expect(order?.totalPrice?.minorUnits).toBe(2_000n);
  expect(await stockOf(shop, productId)).toBe(2n);
  const real = await shop.orders.createOrder({ ...request, validateOnly: false });
  expect(real.replayed).toBe(false);
  expect(await failureOf(shop.orders.createOrder({ ...request, requestId: randomUUID() }))).toMatchObject({
    reason: "OUT_OF_STOCK",
  });
});

test("validate_only with a used request_id returns what the call itself would return", async () => {
  const productId = await makeProduct(shop, { stock: 2n });
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  const { order } = await shop.orders.createOrder(request);
  const again = await shop.orders.createOrder({ ...request, validateOnly: true });
  expect(again).toMatchObject({ replayed: true, order: { id: order?.id } });
  const other = { ...request, validateOnly: true, order: { items: [{ productId, quantity: 2n }] } };
  expect(await failureOf(shop.orders.createOrder(other))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
  expect(await stockOf(shop, productId)).toBe(1n);
});

test("an order id in upper case identifies the same order", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const { order } = await shop.orders.createOrder({
    requestId: randomUUID(),
    order: { items: [{ productId, quantity: 1n }] },
  });
  const [id = "", requestId] = [order?.id, randomUUID()];
  const cancelled = await shop.orders.cancelOrder({ id, requestId });
  expect(await shop.orders.cancelOrder({ id: id.toUpperCase(), requestId })).toEqual(cancelled);
});

test("a cancellation with a stale etag is rejected with the current one", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  const { order } = await shop.orders.createOrder({
    requestId: randomUUID(),
    order: { items: [{ productId, quantity: 1n }] },
  });
  const id = order?.id ?? "";
  expect(await failureOf(shop.orders.cancelOrder({ id, etag: "7" }))).toMatchObject({
    code: "Aborted",
    reason: "STALE_ETAG",
    metadata: { current_etag: "1" },
  });
  const requestId = randomUUID();
  const cancelled = await shop.orders.cancelOrder({ id, etag: "1", requestId });
  expect((await shop.orders.cancelOrder({ id, etag: "1", requestId })).order).toEqual(cancelled.order);
});
