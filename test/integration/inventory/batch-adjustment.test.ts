import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import type { StockAdjustmentResult } from "../../../gen/cartwright/catalog/v1/stock_pb.ts";
import { missingId } from "../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const { RECOUNT, RECEIVED, DAMAGED, CORRECTION, ORDER, INITIAL } = StockReason;
const HOUR_MS = 3_600_000;

let shop: TestShop;
let first: string;
let second: string;
beforeAll(async () => {
  shop = await startShop();
});
beforeEach(async () => {
  [first, second] = await Promise.all([makeProduct(shop, { stock: 10n }), makeProduct(shop, { stock: 10n })]);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

interface Line {
  productId: string;
  reason: StockReason;
  delta?: bigint;
  onHandQuantity?: bigint;
  expectedQuantity?: bigint;
  effectiveTime?: ReturnType<typeof timestampFromDate>;
}

const batch = (adjustments: Line[], requestId: string = randomUUID()) =>
  shop.catalog.batchAdjustStock({ adjustments, requestId });

/** Returns the stock after a line, or the code and the reason of its error. */
const outcomeOf = ({ result }: StockAdjustmentResult) =>
  result.case === "stock" ? result.value.stockQuantity : `${result.value?.code} ${result.value?.reason}`;

const ledgerOf = (productId: string) =>
  shop.database.query<{ delta: string; reason: string }>(
    "select on_hand_delta as delta, reason from stock_movement where product_id = $1 order by id",
    [productId],
  );

test("each line has its own result: those that fail change nothing, and the others are written", async () => {
  const inFuture = timestampFromDate(new Date(Date.now() + HOUR_MS));
  const { results } = await batch([
    { productId: first, delta: 5n, reason: RECEIVED },
    { productId: missingId, delta: 1n, reason: RECEIVED },
    { productId: second, delta: -11n, reason: DAMAGED },
    { productId: second, delta: 1n, reason: RECEIVED, expectedQuantity: 9n },
    { productId: second, delta: 2_000_000_000n, reason: RECEIVED },
    { productId: second, delta: 0n, reason: RECEIVED },
    { productId: second, onHandQuantity: 1n, reason: RECEIVED },
    { productId: second, delta: 1n, reason: RECEIVED, effectiveTime: inFuture },
    { productId: second.toUpperCase(), delta: -10n, reason: CORRECTION, expectedQuantity: 10n },
  ]);
  expect(results.map(outcomeOf)).toEqual([
    15n,
    "NOT_FOUND PRODUCT_NOT_FOUND",
    "FAILED_PRECONDITION OUT_OF_STOCK",
    "ABORTED STOCK_CHANGED",
    "FAILED_PRECONDITION STOCK_TOO_LARGE",
    "INVALID_ARGUMENT INVALID_FIELD",
    "INVALID_ARGUMENT INVALID_FIELD",
    "INVALID_ARGUMENT INVALID_FIELD",
    0n,
  ]);
  expect(results[2]?.result).toMatchObject({
    case: "error",
    value: { message: "The stock cannot be changed: 10 left, 11 to be removed." },
  });
  expect(await ledgerOf(first)).toMatchObject([{ reason: "INITIAL" }, { delta: "5", reason: "RECEIVED" }]);
  expect(await ledgerOf(second)).toMatchObject([
    { reason: "INITIAL" },
    { delta: "-10", reason: "CORRECTION" },
  ]);
});

test("an error of a line is the one of AdjustStock", async () => {
  const line = { productId: first, delta: -11n, reason: DAMAGED };
  const { results } = await batch([line]);
  const { code, reason, message } = await failureOf(shop.catalog.adjustStock(line));
  expect({ code, reason }).toEqual({ code: "FailedPrecondition", reason: "OUT_OF_STOCK" });
  expect(results[0]?.result).toMatchObject({
    case: "error",
    value: { code: "FAILED_PRECONDITION", reason, message },
  });
});

test("lines of one product apply in their order, each on the stock that the one before has left", async () => {
  const { results } = await batch([
    { productId: first, delta: -10n, reason: DAMAGED, expectedQuantity: 10n },
    { productId: first, delta: -1n, reason: DAMAGED },
    { productId: first, delta: 4n, reason: RECEIVED, expectedQuantity: 0n },
    { productId: first, delta: 4n, reason: RECEIVED, expectedQuantity: 0n },
    { productId: first, onHandQuantity: 7n, reason: RECOUNT },
    { productId: first, onHandQuantity: 6n, reason: RECOUNT },
  ]);
  expect(results.map(outcomeOf)).toEqual([
    0n,
    "FAILED_PRECONDITION OUT_OF_STOCK",
    4n,
    "ABORTED STOCK_CHANGED",
    7n,
    6n,
  ]);
  expect((await ledgerOf(first)).map(({ delta }) => delta)).toEqual(["10", "-10", "4", "3", "-1"]);
  const recounts = await shop.database.query<{ later: boolean }>(
    `select effective_at > lag(effective_at) over (order by id) as later
     from stock_movement where product_id = $1 and reason = 'RECOUNT' order by id`,
    [first],
  );
  expect(recounts).toEqual([{ later: null }, { later: true }]);
});

test("a count is compared with those of the ledger and with those of the batch before it", async () => {
  const hoursAgo = (hours: number) => timestampFromDate(new Date(Date.now() - hours * HOUR_MS));
  const count = (productId: string, hours: number) => ({
    productId,
    onHandQuantity: BigInt(hours),
    reason: RECOUNT,
    effectiveTime: hoursAgo(hours),
  });
  await batch([count(second, 3)]);
  const { results } = await batch([
    count(first, 4),
    count(first, 5),
    count(first, 2),
    count(second, 4),
    count(second, 2),
    { productId: second, onHandQuantity: 1n, reason: RECOUNT },
  ]);
  const outdated = "FAILED_PRECONDITION RECOUNT_OUTDATED";
  expect(results.map(outcomeOf)).toEqual([4n, outdated, 2n, outdated, 2n, 1n]);
});

test("a batch that crosses zero updates availability once, and the cached product and lists are dropped", async () => {
  const read = async () => ({
    stock: await stockOf(shop, first),
    isListed: (await shop.catalog.listProducts({ inStockOnly: true, pageSize: 100 })).products.some(
      ({ id }) => id === first,
    ),
  });
  expect(await read()).toEqual({ stock: 10n, isListed: true });
  await batch([
    { productId: first, delta: 3n, reason: RECEIVED },
    { productId: first, delta: -13n, reason: DAMAGED },
  ]);
  expect(await read()).toEqual({ stock: 0n, isListed: false });
  await batch([{ productId: first, delta: 2n, reason: RECEIVED }]);
  expect(await read()).toEqual({ stock: 2n, isListed: true });
});

test("units that orders have reserved cannot be removed, and a count includes them", async () => {
  const order = { items: [{ productId: first, quantity: 4n }] };
  await shop.orders.createOrder({ requestId: randomUUID(), order });
  const { results } = await batch([
    { productId: first, delta: -7n, reason: DAMAGED },
    { productId: first, onHandQuantity: 3n, reason: RECOUNT },
    { productId: first, onHandQuantity: 9n, reason: RECOUNT },
  ]);
  const outOfStock = "FAILED_PRECONDITION OUT_OF_STOCK";
  expect(results.map(outcomeOf)).toEqual([outOfStock, outOfStock, 5n]);
  expect(results[2]?.result.value).toMatchObject({
    productId: first,
    stockQuantity: 5n,
    onHandQuantity: 9n,
  });
});

test("a repeated request_id returns the first results, errors too, and changes nothing", async () => {
  const requestId = randomUUID();
  const lines = [
    { productId: first, delta: -4n, reason: DAMAGED },
    { productId: second, delta: -11n, reason: DAMAGED },
  ];
  const { results } = await batch(lines, requestId);
  await batch([{ productId: second, delta: 5n, reason: RECEIVED }]);
  expect((await batch(lines, requestId)).results).toEqual(results);
  expect(await stockOf(shop, first)).toBe(6n);
  expect(await failureOf(batch(lines.slice(1), requestId))).toMatchObject({
    code: "InvalidArgument",
    reason: "REQUEST_ID_REUSED",
  });
});

test("1,000 lines are written, and 1,001 are rejected", async () => {
  const line = { productId: first, delta: 1n, reason: RECEIVED };
  const { results } = await batch(Array.from({ length: 1_000 }, () => line));
  expect(results).toHaveLength(1_000);
  expect(results.at(-1)?.result.value).toMatchObject({ stockQuantity: 1_010n });
  expect(await stockOf(shop, first)).toBe(1_010n);
  const failure = await failureOf(batch(Array.from({ length: 1_001 }, () => line)));
  expect(failure).toMatchObject({ code: "InvalidArgument", fields: ["adjustments"] });
});

test.each([
  ["adjustments", [], randomUUID()],
  ["request_id", [{ delta: 1n, reason: RECEIVED }], ""],
  ["adjustments[0].reason", [{ delta: 1n, reason: ORDER }], randomUUID()],
  ["adjustments[0].reason", [{ delta: 1n, reason: INITIAL }], randomUUID()],
  ["adjustments[0].delta", [{ delta: 2_000_000_001n, reason: RECEIVED }], randomUUID()],
  ["adjustments[0].on_hand_quantity", [{ onHandQuantity: 2_000_000_001n, reason: RECOUNT }], randomUUID()],
] as const)("%s outside its bounds rejects the whole batch: %o", async (field, lines, requestId) => {
  const call = batch(
    lines.map((line) => ({ productId: first, ...line })),
    requestId,
  );
  expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", fields: [field] });
  expect(await stockOf(shop, first)).toBe(10n);
});

test("concurrent batches in opposite orders, single adjustments and orders add up without a deadlock", async () => {
  const products = await Promise.all(Array.from({ length: 8 }, () => makeProduct(shop, { stock: 1_000n })));
  const lines = products.map((productId) => ({ productId, delta: 1n, reason: RECEIVED }));
  const calls = Array.from({ length: 20 }, (_, index) => [
    batch(index % 2 === 0 ? lines : lines.toReversed()),
    shop.catalog.adjustStock({ productId: products[index % 8] ?? "", delta: -1n, reason: DAMAGED }),
    shop.orders.createOrder({
      requestId: randomUUID(),
      order: {
        items: products.toSorted(() => (index % 2) - 0.5).map((productId) => ({ productId, quantity: 1n })),
      },
    }),
  ]).flat();
  const settled = await Promise.allSettled<unknown>(calls);
  expect(settled.filter(({ status }) => status === "rejected")).toEqual([]);
  const stocks = await Promise.all(products.map((productId) => stockOf(shop, productId)));
  // 20 units received, 20 ordered, and each product adjusted by -1 twice or three times.
  expect(stocks.reduce((sum, stock) => sum + stock, 0n)).toBe(8_000n - 20n);
});
