import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { ListProductsResponseSchema } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { createEntry, type Entry } from "../../../../src/infra/cache/cache-entry.ts";
import { measureLiveBytes } from "../../../support/live-memory.ts";

const createBareProduct = () => ({
  id: randomUUID(),
  sku: `SKU-${randomUUID().slice(0, 8)}`,
  name: "Steel bottle",
  brand: "Acme",
  categoryId: randomUUID(),
  price: { currencyCode: "EUR", minorUnits: 1_999n },
  stockQuantity: 12n,
  etag: "1",
  createTime: timestampNow(),
  updateTime: timestampNow(),
});
const createFullProduct = () => ({
  ...createBareProduct(),
  description: `${"A bottle that people like. ".repeat(8)}${randomUUID()}`,
  attributes: { color: "red" },
});

const pages = [
  { name: "one bare product", products: 1, createProduct: createBareProduct },
  { name: "a page of bare products", products: 20, createProduct: createBareProduct },
  { name: "a page of full products", products: 20, createProduct: createFullProduct },
];

test.each(pages)(
  "the estimated size of $name is not below its real size, and at most three times as large",
  async (page) => {
    const count = Math.ceil(8_000 / page.products);
    const payloads = Array.from({ length: count }, () => {
      const products = Array.from({ length: page.products }, page.createProduct);
      return toBinary(ListProductsResponseSchema, create(ListProductsResponseSchema, { products }));
    });
    const fill = () =>
      payloads.map((payload) => {
        const request = {
          key: "",
          tags: [`product:${randomUUID()}`],
          freshMs: 60_000,
          staleMs: 1_000,
          load: async () => create(ListProductsResponseSchema),
          encode: () => payload,
          decode: (bytes: Uint8Array) => fromBinary(ListProductsResponseSchema, bytes),
        };
        return createEntry(request, request.decode(payload), payload, {
          version: 1,
          startedAtMs: 0,
          loadedAtMs: Date.now(),
        });
      });
    const measureRatio = async () => {
      const before = await measureLiveBytes();
      const entries: Entry<unknown>[] = fill();
      const measured = (await measureLiveBytes()) - before;
      return measured / entries.reduce((sum, { bytes }) => sum + bytes, 0);
    };
    const ratios = [await measureRatio(), await measureRatio(), await measureRatio()].sort((a, b) => a - b);
    // The median, because the test runner allocates memory in this process too.
    expect(ratios[1]).toBeLessThan(1.15);
    expect(ratios[1]).toBeGreaterThan(0.3);
  },
);
