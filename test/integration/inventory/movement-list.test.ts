import { randomUUID } from "node:crypto";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import type { StockMovement } from "../../../gen/cartwright/catalog/v1/stock_pb.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";

const { RECOUNT, RECEIVED, DAMAGED, INITIAL, ORDER, CANCEL, EXPIRE, SHIP, ORDER_RETURN } = StockReason;

let shop: TestShop;
let productId: string;
let otherId: string;
let orderId: string;
const effectiveTime = timestampFromDate(new Date("2026-01-02T03:04:05.678Z"));
beforeAll(async () => {
  shop = await startShop();
  productId = await makeProduct(shop, { stock: 10n });
  otherId = await makeProduct(shop, { stock: 20n });
  const items = [productId, otherId].map((id) => ({ productId: id, quantity: 2n }));
  const { order } = await shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
  orderId = order?.id ?? "";
  await shop.catalog.adjustStock({ productId, delta: -1n, reason: DAMAGED, effectiveTime });
  await shop.orders.cancelOrder({ id: orderId });
  await shop.catalog.adjustStock({ productId, onHandQuantity: 9n, reason: RECOUNT });
  await shop.catalog.adjustStock({ productId: otherId, delta: 5n, reason: RECEIVED });
});
afterAll(() => shop.close());

type Request = Parameters<TestShop["catalog"]["listStockMovements"]>[0];
const list = async (request: Request) => (await shop.catalog.listStockMovements(request)).movements;
const reasonsOf = (movements: StockMovement[]) => movements.map(({ reason }) => reason);

test("all entries of a product are listed with their fields, newest first", async () => {
  const movements = await list({ productId: productId.toUpperCase() });
  const none = { onHandDelta: 0n, reservedDelta: 0n, orderId: "" };
  expect(movements).toMatchObject([
    { ...none, reason: RECOUNT },
    { ...none, reason: CANCEL, reservedDelta: -2n, orderId },
    { ...none, reason: DAMAGED, onHandDelta: -1n, effectiveTime },
    { ...none, reason: ORDER, reservedDelta: 2n, orderId },
    { ...none, reason: INITIAL, onHandDelta: 10n },
  ]);
  expect(movements.every((movement) => movement.productId === productId)).toBe(true);
  const ids = movements.map(({ id }) => id);
  expect(ids).toEqual(ids.toSorted((a, b) => (a > b ? -1 : 1)));
  const [recount] = movements;
  expect(recount?.effectiveTime).toEqual(recount?.createTime);
});

test("the entries of an order are those of its items and of its cancellation", async () => {
  const movements = await list({ orderId });
  expect(reasonsOf(movements)).toEqual([CANCEL, CANCEL, ORDER, ORDER]);
  expect(movements.map((movement) => movement.productId).toSorted()).toEqual(
    [productId, productId, otherId, otherId].toSorted(),
  );
  expect(reasonsOf(await list({ orderId, productId, reason: CANCEL }))).toEqual([CANCEL]);
  expect(await list({ orderId: randomUUID() })).toEqual([]);
});

test("without a product and an order, all other entries are listed, and reasons of orders are rejected", async () => {
  expect(reasonsOf(await list({}))).toEqual([RECEIVED, RECOUNT, DAMAGED, INITIAL, INITIAL]);
  expect(await list({ reason: DAMAGED })).toMatchObject([{ productId, onHandDelta: -1n }]);
  for (const reason of [ORDER, CANCEL, EXPIRE, SHIP, ORDER_RETURN]) {
    expect(await failureOf(list({ reason }))).toMatchObject({ code: "InvalidArgument", fields: ["reason"] });
  }
});

test.each([
  ["of a product", () => ({ productId })],
  ["of all products", () => ({})],
])(
  "a time range of the entries %s includes its lower bound and excludes its upper one",
  async (_, filter) => {
    // The entries of one transaction have the same time.
    const all = await list(filter());
    for (const { createTime } of all) {
      const time = createTime === undefined ? 0 : timestampDate(createTime).getTime();
      const timeOf = (movement: StockMovement) =>
        movement.createTime === undefined ? 0 : timestampDate(movement.createTime).getTime();
      expect(await list({ ...filter(), minCreateTime: createTime })).toEqual(
        all.filter((movement) => timeOf(movement) >= time),
      );
      expect(await list({ ...filter(), maxCreateTime: createTime })).toEqual(
        all.filter((movement) => timeOf(movement) < time),
      );
    }
  },
);

test.each([
  ["of a product", () => ({ productId })],
  ["of an order", () => ({ orderId })],
  ["of all products", () => ({})],
])("pages %s have each entry once, in the same order", async (_, filter) => {
  const all = await list(filter());
  const paged: StockMovement[] = [];
  let pageToken = "";
  do {
    const page = await shop.catalog.listStockMovements({ ...filter(), pageSize: 2, pageToken });
    expect(page.movements.length).toBeLessThanOrEqual(2);
    paged.push(...page.movements);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(paged).toEqual(all);
});

test("a page token is valid for its own filters only", async () => {
  const { nextPageToken: pageToken } = await shop.catalog.listStockMovements({ productId, pageSize: 1 });
  const call = list({ productId: otherId, pageSize: 1, pageToken });
  expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", reason: "PAGE_TOKEN_INVALID" });
});
