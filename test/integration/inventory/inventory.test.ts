import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { AdjustStockRequestSchema } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  clientsOf,
  missingId,
  postJson,
  protocols,
  readResourceInfo,
} from "../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const { RECOUNT, RECEIVED, DAMAGED, RETURNED, CORRECTION, UNSPECIFIED } = StockReason;

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop();
});
beforeEach(async () => {
  productId = await makeProduct(shop, { stock: 10n });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

/** Returns the movements of the product, oldest first. */
const ledger = () =>
  shop.database.query<{ delta: string }>(
    "select on_hand_delta as delta, reason, effective_at from stock_movement where product_id = $1 order by id",
    [productId],
  );

const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

describe.each(protocols)("over %s", (protocol) => {
  const catalog = () => clientsOf(shop, protocol).catalog;

  test("each adjustment changes the stock and is recorded in the ledger with its reason and time", async () => {
    const effectiveAt = minutesAgo(5);
    const steps = [
      [5n, RECEIVED, "RECEIVED"],
      [-3n, DAMAGED, "DAMAGED"],
      [1n, RETURNED, "RETURNED"],
      [-12n, CORRECTION, "CORRECTION"],
      [8n, RECOUNT, "RECOUNT"],
    ] as const;
    let stock = 10n;
    for (const [delta, reason] of steps) {
      const effectiveTime = timestampFromDate(effectiveAt);
      const { product } = await catalog().adjustStock({ productId, delta, reason, effectiveTime });
      stock += delta;
      expect(product).toMatchObject({ id: productId, stockQuantity: stock, etag: "1" });
    }
    expect(await ledger()).toMatchObject([
      { delta: "10", reason: "INITIAL" },
      ...steps.map(([delta, , reason]) => ({ delta: String(delta), reason, effective_at: effectiveAt })),
    ]);
    expect(await stockOf(shop, productId)).toBe(9n);
  });

  test("an adjustment with an expected quantity is rejected when the stock differs", async () => {
    const adjust = (expectedQuantity: bigint) =>
      catalog().adjustStock({ productId, delta: 1n, reason: RECEIVED, expectedQuantity });
    expect((await adjust(10n)).product?.stockQuantity).toBe(11n);
    expect(await failureOf(adjust(10n))).toMatchObject({
      code: "Aborted",
      reason: "STOCK_CHANGED",
      metadata: { current_quantity: "11" },
    });
    expect(await failureOf(adjust(0n))).toMatchObject({ code: "Aborted", reason: "STOCK_CHANGED" });
    expect(await readResourceInfo(adjust(10n))).toEqual(["cartwright", "product", productId]);
    expect(await stockOf(shop, productId)).toBe(11n);
    expect(await ledger()).toHaveLength(2);
  });

  test("a count of the units on hand is right although orders have reserved some of them", async () => {
    const items = [{ productId, quantity: 4n }];
    await shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
    const count = (onHandQuantity: bigint, minutes: number) => {
      const effectiveTime = timestampFromDate(minutesAgo(minutes));
      return catalog().adjustStock({ productId, onHandQuantity, reason: RECOUNT, effectiveTime });
    };
    expect(await count(9n, 3)).toMatchObject({ product: { stockQuantity: 5n }, onHandQuantity: 9n });
    // It finds no difference, and is recorded nevertheless: older counts are outdated.
    expect(await count(9n, 1)).toMatchObject({ product: { stockQuantity: 5n }, onHandQuantity: 9n });
    expect(await failureOf(count(7n, 2))).toMatchObject({ reason: "RECOUNT_OUTDATED" });
    expect(await failureOf(count(3n, 0))).toMatchObject({ reason: "OUT_OF_STOCK" });
    expect((await ledger()).map(({ delta }) => delta)).toEqual(["10", "0", "-1", "0"]);
  });

  test("an adjustment has either a delta or, as a recount, the units on hand", async () => {
    const adjust = (request: { delta?: bigint; onHandQuantity?: bigint; reason: StockReason }) =>
      failureOf(catalog().adjustStock({ productId, ...request }));
    const invalid = (field: string) => ({ code: "InvalidArgument", fields: [field] });
    expect(await adjust({ reason: RECOUNT })).toMatchObject(invalid("delta"));
    expect(await adjust({ delta: 1n, onHandQuantity: 9n, reason: RECOUNT })).toMatchObject(invalid("delta"));
    expect(await adjust({ onHandQuantity: 9n, reason: RECEIVED })).toMatchObject(invalid("on_hand_quantity"));
    expect(await adjust({ onHandQuantity: 2_000_000_001n, reason: RECOUNT })).toMatchObject(
      invalid("on_hand_quantity"),
    );
  });

  test("an expected quantity of 0 is compared like any other", async () => {
    const soldOut = await makeProduct(shop, { stock: 0n });
    const request = { productId: soldOut, delta: 2n, reason: RECEIVED, expectedQuantity: 0n };
    expect((await catalog().adjustStock(request)).product?.stockQuantity).toBe(2n);
    expect(await failureOf(catalog().adjustStock(request))).toMatchObject({ reason: "STOCK_CHANGED" });
  });

  test("an adjustment that would make the stock negative or exceed its maximum is rejected", async () => {
    const adjust = (delta: bigint) => catalog().adjustStock({ productId, delta, reason: CORRECTION });
    expect(await failureOf(adjust(-11n))).toMatchObject({
      code: "FailedPrecondition",
      reason: "OUT_OF_STOCK",
      preconditions: ["STOCK"],
    });
    expect((await adjust(1_000_000_000n)).product?.stockQuantity).toBe(1_000_000_010n);
    expect(await failureOf(adjust(1_000_000_000n))).toMatchObject({
      code: "FailedPrecondition",
      reason: "STOCK_TOO_LARGE",
      preconditions: ["STOCK"],
    });
    expect(await ledger()).toHaveLength(2);
    expect((await adjust(-10n)).product?.stockQuantity).toBe(1_000_000_000n);
    expect((await adjust(1_000_000_000n)).product?.stockQuantity).toBe(2_000_000_000n);
  });

  test("a recount older than the latest one is rejected, other adjustments are not", async () => {
    const adjust = (reason: StockReason, minutes: number) => {
      const effectiveTime = timestampFromDate(minutesAgo(minutes));
      return catalog().adjustStock({ productId, delta: 1n, reason, effectiveTime });
    };
    await adjust(RECOUNT, 10);
    expect(await failureOf(adjust(RECOUNT, 11))).toMatchObject({
      code: "FailedPrecondition",
      reason: "RECOUNT_OUTDATED",
      preconditions: ["RECOUNT"],
    });
    await adjust(RECEIVED, 60);
    await adjust(RECOUNT, 9);
    // A delivery that is newer than a recount does not make the recount outdated.
    await adjust(RECEIVED, 1);
    await adjust(RECOUNT, 2);
    expect(await stockOf(shop, productId)).toBe(15n);
  });

  test("an effective time in the future is rejected beyond the tolerated clock skew", async () => {
    const adjust = (aheadMs: number) => {
      const effectiveTime = timestampFromDate(new Date(Date.now() + aheadMs));
      return catalog().adjustStock({ productId, delta: 1n, reason: RECEIVED, effectiveTime });
    };
    expect(await failureOf(adjust(120_000))).toMatchObject({
      code: "InvalidArgument",
      fields: ["effective_time"],
    });
    expect((await adjust(20_000)).product?.stockQuantity).toBe(11n);
  });

  test("a repeated request_id returns the first response and changes nothing", async () => {
    const requestId = randomUUID();
    const request = { productId, delta: -4n, reason: DAMAGED, requestId };
    const first = await catalog().adjustStock(request);
    await catalog().adjustStock({ productId, delta: 1n, reason: RETURNED });
    const repeated = await catalog().adjustStock({
      ...request,
      productId: productId.toUpperCase(),
      requestId: requestId.toUpperCase(),
    });
    expect(repeated).toEqual(first);
    expect(await failureOf(catalog().adjustStock({ ...request, delta: -5n }))).toMatchObject({
      code: "InvalidArgument",
      reason: "REQUEST_ID_REUSED",
      fields: ["request_id"],
    });
    expect(await stockOf(shop, productId)).toBe(7n);
  });

  test("a rejected adjustment can be repeated with the same request_id", async () => {
    const request = { productId, delta: -11n, reason: DAMAGED, requestId: randomUUID() };
    expect(await failureOf(catalog().adjustStock(request))).toMatchObject({ reason: "OUT_OF_STOCK" });
    await catalog().adjustStock({ productId, delta: 1n, reason: RECEIVED });
    expect((await catalog().adjustStock(request)).product?.stockQuantity).toBe(0n);
  });

  test.each([
    ["delta", { delta: 0n }],
    ["delta", { delta: 2_000_000_001n }],
    ["delta", { delta: -(2n ** 63n) }],
    ["reason", { reason: UNSPECIFIED }],
    ["expected_quantity", { expectedQuantity: -1n }],
    ["expected_quantity", { expectedQuantity: 2_000_000_001n }],
    ["effective_time", { effectiveTime: { seconds: -1n, nanos: 0 } }],
    ["effective_time", { effectiveTime: { seconds: 4_102_444_801n, nanos: 0 } }],
    ["product_id", { productId: "1" }],
    ["request_id", { requestId: "1" }],
  ])("a value of %s outside its bounds is rejected: %o", async (field, invalid) => {
    const call = catalog().adjustStock({ productId, delta: 1n, reason: RECEIVED, ...invalid });
    expect(await failureOf(call)).toMatchObject({ code: "InvalidArgument", fields: [field] });
  });

  test("an unknown product is NOT_FOUND, and the stock of a deleted one can be adjusted", async () => {
    const adjust = (id: string) => catalog().adjustStock({ productId: id, delta: 1n, reason: RECOUNT });
    expect(await failureOf(adjust(missingId))).toMatchObject({
      code: "NotFound",
      reason: "PRODUCT_NOT_FOUND",
    });
    await shop.catalog.deleteProduct({ id: productId });
    const { product } = await adjust(productId);
    expect(product).toMatchObject({
      stockQuantity: 11n,
      deleteTime: { $typeName: "google.protobuf.Timestamp" },
    });
  });
});

test("an unknown reason is rejected in JSON and in binary messages", async () => {
  const method = "catalog.v1.CatalogService/AdjustStock";
  for (const reason of ['"STOCK_REASON_STOLEN"', "17"]) {
    const body = `{"productId": "${productId}", "delta": "1", "reason": ${reason}}`;
    expect(await postJson(shop, method, body)).toEqual({ status: 400, code: "invalid_argument" });
  }
  const request = create(AdjustStockRequestSchema, { productId, delta: 1n });
  const response = await fetch(`${shop.url}/cartwright.${method}`, {
    method: "POST",
    headers: { "content-type": "application/proto" },
    // Field 4, the reason, is 17.
    body: Buffer.concat([toBinary(AdjustStockRequestSchema, request), Buffer.of(0x20, 17)]),
  });
  expect(await response.text()).toContain('"invalid_argument"');
  expect(await ledger()).toHaveLength(1);
});

test("a delta in JSON is either exact or rejected, never rounded", async () => {
  const method = "catalog.v1.CatalogService/AdjustStock";
  const adjust = (delta: string) =>
    postJson(
      shop,
      method,
      `{"productId": "${productId}", "delta": ${delta}, "reason": "STOCK_REASON_RECEIVED"}`,
    );
  for (const delta of ["1.5", "9007199254740993", '"1e400"', '"x"', "[]", '"9223372036854775808"']) {
    expect(await adjust(delta)).toEqual({ status: 400, code: "invalid_argument" });
  }
  expect(await adjust("3")).toMatchObject({ status: 200 });
  expect(await stockOf(shop, productId)).toBe(13n);
});

test("fifty concurrent adjustments add up in the stock and in the ledger", async () => {
  const deltas = Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? 3n : -1n));
  await Promise.all(
    deltas.map((delta, index) =>
      (index % 3 === 0 ? shop.json : shop).catalog.adjustStock({ productId, delta, reason: CORRECTION }),
    ),
  );
  expect(await stockOf(shop, productId)).toBe(10n + 25n * 3n - 25n);
  const [sum] = await shop.database.query<{ sum: string }>(
    "select sum(on_hand_delta) from stock_movement where product_id = $1",
    [productId],
  );
  expect(sum?.sum).toBe("60");
});

test("of twenty concurrent adjustments with the same expected quantity exactly one succeeds", async () => {
  const calls = Array.from({ length: 20 }, () =>
    shop.catalog.adjustStock({ productId, delta: -1n, reason: DAMAGED, expectedQuantity: 10n }),
  );
  const settled = await Promise.allSettled(calls);
  expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(await stockOf(shop, productId)).toBe(9n);
});

test("the initial stock of a product is recorded in the ledger, and no row is recorded for an initial stock of 0", async () => {
  expect(await ledger()).toMatchObject([{ delta: "10", reason: "INITIAL" }]);
  productId = await makeProduct(shop, { stock: 0n });
  expect(await ledger()).toEqual([]);
});
