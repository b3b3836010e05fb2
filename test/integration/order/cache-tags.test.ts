import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Product } from "../../../src/catalog/product/product-row.ts";
import { openTagRecorder, type TagRecorder } from "../../support/order/invalidated-tags.ts";

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

function order(products: (Product | undefined)[], validateOnly = false) {
  const items = products.map((product) => ({ productId: product?.id ?? "", quantity: 1n }));
  const input = { customerId: "", promotionId: "", items };
  return { order: input, requestId: randomUUID(), validateOnly };
}

test("an order and its cancellation invalidate their products, and lists when a product goes out of or back in stock", async () => {
  const { call, orders } = shop;
  expect(await shop.tagsOf(() => orders.create(call, order([plenty, last], true)))).toEqual([]);
  expect(await shop.tagsOf(() => orders.create(call, order([plenty])))).toEqual(tagsOf([plenty]));

  const both = order([plenty, last]);
  expect(await shop.tagsOf(() => orders.create(call, both))).toEqual(tagsOf([plenty, last], "catalog"));
  expect(await shop.tagsOf(() => orders.create(call, both))).toEqual([]);
  expect(await shop.tagsOf(() => orders.create(call, order([last])).catch(() => {}))).toEqual([]);

  const { id } = (await orders.create(call, both)).order;
  const cancel = { id, etag: "", requestId: randomUUID() };
  expect(await shop.tagsOf(() => orders.cancel(call, cancel))).toEqual(tagsOf([plenty, last], "catalog"));
  expect(await shop.tagsOf(() => orders.cancel(call, cancel))).toEqual([]);
});
