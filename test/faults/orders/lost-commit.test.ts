import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct, stockOf } from "../../support/shop-fixtures.ts";
import { type CommitProxy, proxiedUrl, startCommitProxy } from "../../support/stores/commit-proxy.ts";

let proxy: CommitProxy;
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({}, undefined, async (url) => {
    proxy = await startCommitProxy(Number(new URL(url).port));
    return proxiedUrl(url, proxy);
  });
});
afterAll(async () => {
  await shop.close();
  await proxy.close();
});

test.each(["before", "during", "after"] as const)(
  "an order whose connection is lost %s its COMMIT is placed once, and only a repeat is a replay",
  async (moment) => {
    const productId = await makeProduct(shop, { stock: 10n });
    const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
    const interruptions = proxy.interruptions();
    proxy.interrupt({ moment, statement: /\border_item\b/ });
    const first = await shop.orders.createOrder(request);
    expect(proxy.interruptions()).toBe(interruptions + 1);
    expect(first.replayed).toBe(false);
    expect(await shop.orders.createOrder(request)).toEqual({ ...first, replayed: true });
    expect(await stockOf(shop, productId)).toBe(9n);
  },
);
