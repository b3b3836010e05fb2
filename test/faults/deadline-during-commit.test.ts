import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { failureOf } from "../support/errors.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";
import { type CommitProxy, proxiedUrl, startCommitProxy } from "../support/stores/commit-proxy.ts";

let proxy: CommitProxy;
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ STOCK_STRATEGY: "pessimistic" }, undefined, async (url) => {
    proxy = await startCommitProxy(Number(new URL(url).port));
    return proxiedUrl(url, proxy);
  });
});
afterAll(async () => {
  await shop.close();
  await proxy.close();
});

/** Time until the deadline: enough to reach the COMMIT on a busy machine. */
const DEADLINE = { headers: { "grpc-timeout": "4S" } };

type Repeatable = (options?: typeof DEADLINE) => Promise<unknown>;

/** Creates an order of one unit. */
function createOrder(productId: string): Repeatable {
  const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
  return (options) => shop.orders.createOrder(request, options);
}

const methods: [name: string, stock: bigint, prepare: (productId: string) => Promise<Repeatable>][] = [
  ["CreateOrder", 9n, async (productId) => createOrder(productId)],
  [
    "CancelOrder",
    10n,
    async (productId) => {
      const items = [{ productId, quantity: 1n }];
      const { order } = await shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
      const request = { requestId: randomUUID(), id: order?.id ?? "" };
      return async (options) => shop.orders.cancelOrder(request, options);
    },
  ],
  [
    "AdjustStock",
    15n,
    async (productId) => {
      const request = { requestId: randomUUID(), productId, delta: 5n, reason: StockReason.RECEIVED };
      return async (options) => shop.catalog.adjustStock(request, options);
    },
  ],
];

test.each(methods)(
  "a deadline that passes during the COMMIT of %s responds OUTCOME_UNKNOWN, and a repeat changes nothing more",
  async (_, stock, prepare) => {
    const productId = await makeProduct(shop, { stock: 10n });
    const call = await prepare(productId);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const { promise: committed, resolve: onInterrupt } = Promise.withResolvers<void>();
    proxy.interrupt({ moment: "delayed", statement: /\binventory\b/, onInterrupt, until: released });
    const failure = failureOf(call(DEADLINE));
    await committed;
    expect(await failure).toMatchObject({ code: "DeadlineExceeded", reason: "OUTCOME_UNKNOWN" });
    release();
    expect(await stockOf(shop, productId)).toBe(stock);
    await call();
    expect(await stockOf(shop, productId)).toBe(stock);
  },
);
