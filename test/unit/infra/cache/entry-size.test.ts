import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { ListProductsResponseSchema } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { createEntry, type Entry } from "../../../../src/infra/cache/entry.ts";
import { measureLiveBytes } from "../../../support/live-memory.ts";

const bare = () => ({
  ...{ id: randomUUID(), sku: `SKU-${randomUUID().slice(0, 8)}`, name: "Steel bottle", brand: "Acme" },
  ...{ categoryId: randomUUID(), price: { currencyCode: "EUR", minorUnits: 1_999n }, stockQuantity: 12n },
  ...{ etag: "1", createTime: timestampNow(), updateTime: timestampNow() },
});
const full = () => ({
  ...bare(),
  ...{ description: `${"What people like to buy. ".repeat(8)}${randomUUID()}`, attributes: { color: "red" } },
});

const pages = [
  { name: "one bare product", products: 1, product: bare },
  { name: "a page of bare products", products: 20, product: bare },
  { name: "a page of full products", products: 20, product: full },
];

test.each(pages)("$name takes no more memory than is counted for it, and not far less", async (page) => {
  const count = Math.ceil(8_000 / page.products);
  const payloads = Array.from({ length: count }, () => {
    const products = Array.from({ length: page.products }, page.product);
    return toBinary(ListProductsResponseSchema, create(ListProductsResponseSchema, { products }));
  });
  const fill = () =>
    payloads.map((payload) => {
      const wanted = {
        ...{ key: "", tags: [`product:${randomUUID()}`], freshMs: 60_000, staleMs: 1_000 },
        load: async () => create(ListProductsResponseSchema),
        encode: () => payload,
        decode: (bytes: Uint8Array) => fromBinary(ListProductsResponseSchema, bytes),
      };
      return createEntry(wanted, wanted.decode(payload), payload, { version: 1, loadedAtMs: Date.now() });
    });
  const share = async () => {
    const before = await measureLiveBytes();
    const entries: Entry<unknown>[] = fill();
    const taken = (await measureLiveBytes()) - before;
    return taken / entries.reduce((sum, { bytes }) => sum + bytes, 0);
  };
  const shares = [await share(), await share(), await share()].sort((a, b) => a - b);
  // Others are at work in this process too: the middle one of three.
  expect(shares[1]).toBeLessThan(1.15);
  expect(shares[1]).toBeGreaterThan(0.3);
});
