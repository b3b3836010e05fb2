import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { OrderSchema } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { withRetries } from "../../../src/kernel/async/with-retries.ts";
import { failureOf } from "../../support/errors.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { countDeadlocks } from "../../support/stores/database-activity.ts";
import { findViolations } from "../../support/stores/invariants.ts";

const BUYERS = 30;

describe.each(["combined", "pessimistic", "optimistic"])("the strategy %s", (strategy) => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await startShop({ STOCK_STRATEGY: strategy });
  });
  afterAll(() => shop.close());

  /** Orders as a client does that repeats a call which has lost against others. */
  const place = (order: MessageInitShape<typeof OrderSchema>, requestId = randomUUID()) =>
    withRetries(() => shop.orders.createOrder({ requestId, order }), {
      attempts: 100,
      firstDelayMs: 5,
      maxDelayMs: 20,
      isRetryable: (error) => ConnectError.from(error).code === Code.Aborted,
    });

  test("concurrent buyers get exactly the units that there are", async () => {
    const productId = await makeProduct(shop, { stock: 10n });
    const outcomes = await Promise.all(
      Array.from({ length: BUYERS }, async () => {
        const call = place({ items: [{ productId, quantity: 1n }] });
        return call.then(
          () => "sold",
          () => failureOf(call).then(({ reason }) => reason),
        );
      }),
    );
    expect(outcomes.filter((outcome) => outcome === "sold")).toHaveLength(10);
    expect(outcomes.filter((outcome) => outcome === "OUT_OF_STOCK")).toHaveLength(BUYERS - 10);
    expect(await stockOf(shop, productId)).toBe(0n);
    expect(await findViolations(shop.database.url)).toEqual([]);
  });

  test("concurrent baskets in any order of lines do not deadlock, and concurrent repeats are placed once", async () => {
    const products = await Promise.all(Array.from({ length: 4 }, () => makeProduct(shop, { stock: 1_000n })));
    const customerId = await makeCustomer(shop);
    const requests = Array.from({ length: BUYERS }, (_, index) => ({
      requestId: randomUUID(),
      items: products
        .map((productId) => ({ productId, quantity: 1n }))
        .toSorted((a, b) =>
          index % 2 === 0 ? a.productId.localeCompare(b.productId) : b.productId.localeCompare(a.productId),
        )
        .slice(index % 2),
    }));
    const placed = await Promise.all(
      [...requests, ...requests].map(({ items, requestId }) => place({ customerId, items }, requestId)),
    );
    expect(new Set(placed.map((one) => one.order?.id)).size).toBe(BUYERS);
    expect(placed.filter(({ replayed }) => replayed)).toHaveLength(BUYERS);
    expect(await countDeadlocks(shop.database)).toBe(0);
    expect(await findViolations(shop.database.url)).toEqual([]);
  });

  test("an order that exceeds the limit of its promotion is rejected, also among concurrent ones", async () => {
    const productId = await makeProduct(shop, { stock: 1_000n });
    const { promotion } = await shop.tracker.createPromotion({
      promotion: { name: "Few", purchaseLimit: 5n, purchaseLimitPerUser: 2n },
    });
    const customers = await Promise.all(Array.from({ length: 4 }, () => makeCustomer(shop)));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, index) =>
        place({
          customerId: customers[index % 4] ?? "",
          promotionId: promotion?.id ?? "",
          items: [{ productId, quantity: 1n }],
        }),
      ),
    );
    const placed = outcomes.filter((outcome) => outcome.status === "fulfilled");
    expect(placed).toHaveLength(5);
    const perCustomer = Map.groupBy(placed, ({ value }) => value.order?.customerId);
    expect(Math.max(...[...perCustomer.values()].map((orders) => orders.length))).toBeLessThanOrEqual(2);
    expect(await findViolations(shop.database.url)).toEqual([]);
  });
});
