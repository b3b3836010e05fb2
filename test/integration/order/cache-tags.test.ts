import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Product } from "../../../src/catalog/product/product-row.ts";
import { openTagRecorder, type TagRecorder } from "../../support/orders/invalidated-tags.ts";

let shop: TagRecorder;
let [plenty, last]: Product[] = [];
beforeAll(async () => {
  shop = await openTagRecorder();
  const { id } = await shop.makeCategory();
  plenty = await shop.makeProduct(id, 10n);
  last = await shop.makeProduct(id, 1n);
});
afterAll(() => shop.close());

function tagsOf(products: (Product | undefined)[], ...more: string[]): string[] {
  const own = products.flatMap((product) => [`product:${product?.id}`, `sku:${product?.sku}`]);
  return [...own, ...more].toSorted();
}

const throttledTagsOf = (products: (Product | undefined)[]) =>
  products.map((product) => `product:${product?.id} throttled`);

function order(products: (Product | undefined)[], validateOnly = false) {
  const items = products.map((product) => ({ productId: product?.id ?? "", quantity: 1n }));
  const input = { customerId: "", promotionId: "", items };
  return { order: input, requestId: randomUUID(), validateOnly };
}

test("an order and its cancellation invalidate their products, and lists when a product goes out of or back in stock", async () => {
  const { call, orders } = shop;
  expect(await shop.tagsOf(() => orders.create(call, order([plenty, last], true)))).toEqual([]);
  const one = order([plenty]);
  expect(await shop.tagsOf(() => orders.create(call, one))).toEqual(throttledTagsOf([plenty]));
  expect(await shop.tagsOf(() => orders.create(call, one))).toEqual([]);

  const both = order([plenty, last]);
  expect(await shop.tagsOf(() => orders.create(call, both))).toEqual(
    [...throttledTagsOf([plenty]), ...tagsOf([last], "catalog")].toSorted(),
  );
  // The process of the first call may have died before the invalidation of what it sold out.
  expect(await shop.tagsOf(() => orders.create(call, both))).toEqual(tagsOf([last], "catalog"));
  expect(await shop.tagsOf(() => orders.create(call, order([last])).catch(() => {}))).toEqual([]);

  const { id } = (await orders.create(call, both)).order;
  const cancel = { id, etag: "", reason: "" };
  const requestId = randomUUID();
  expect(await shop.tagsOf(() => orders.cancel(call, cancel, requestId))).toEqual(
    [...throttledTagsOf([plenty]), ...tagsOf([last], "catalog")].toSorted(),
  );
  expect(await shop.tagsOf(() => orders.cancel(call, cancel, requestId))).toEqual([]);
});
