import { randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import {
  GetProductRequestSchema,
  GetProductResponseSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory, makeProduct } from "../../../support/shop-fixtures.ts";

/** Two replicas of one service: the same database, the same Redis. */
let shop: TestShop;
let other: TestShop;
beforeAll(async () => {
  shop = await startShop();
  other = await startShop({}, silentLog, async () => shop.database.url);
});
afterAll(async () => {
  await other.close();
  await shop.close();
});

type GetRequest = MessageInitShape<typeof GetProductRequestSchema>;
const byId = (value: string) => ({ key: { case: "id" as const, value } });
const bySku = (value: string) => ({ key: { case: "sku" as const, value } });

/** Calls GetProduct, and returns the state of the cache with the product. */
async function get(at: TestShop, request: GetRequest) {
  let state = "";
  const onHeader = (headers: Headers) => {
    state = headers.get("x-cartwright-cache") ?? "";
  };
  const { product } = await at.catalog.getProduct(request, { onHeader });
  return { state, product };
}

const stateOf = async (at: TestShop, request: GetRequest) => (await get(at, request)).state;

/** Reads until the response is in memory: on a busy machine a replica may suspend its memory cache for a while. */
async function warm(at: TestShop, request: GetRequest): Promise<void> {
  await expect.poll(() => stateOf(at, request)).toBe("memory");
}

async function setName(at: TestShop, id: string, name: string): Promise<void> {
  await at.catalog.updateProduct({ product: { id, name }, updateMask: { paths: ["name"] } });
}

test("a response states its tier: miss, then memory, and Redis in another replica", async () => {
  await warm(shop, byId(await makeProduct(shop, { stock: 1n })));
  await warm(other, byId(await makeProduct(shop, { stock: 1n })));
  await expect
    .poll(async () => {
      const request = byId(await makeProduct(shop, { stock: 1n }));
      const states = [await stateOf(shop, request), await stateOf(shop, request)];
      return [...states, await stateOf(other, request), await stateOf(other, request)];
    })
    .toEqual(["miss", "memory", "redis", "memory"]);
});

/** One write of each kind. A change by hand is seen immediately, the units of an order within a second. */
const writes: Record<string, (id: string) => Promise<unknown>> = {
  UpdateProduct: (id) => setName(shop, id, "New"),
  AdjustStock: (id) => shop.catalog.adjustStock({ productId: id, delta: 5n, reason: 1 }),
  CreateOrder: (id) =>
    shop.orders.createOrder({
      requestId: randomUUID(),
      order: { items: [{ productId: id, quantity: 1n }] },
    }),
};

test.each(Object.keys(writes))("%s is seen in its replica and in the other", async (name) => {
  const id = await makeProduct(shop, { stock: 9n });
  const { product } = await shop.catalog.getProduct(byId(id));
  // By id, by id in upper case, and by sku.
  const requests = [byId(id), byId(id.toUpperCase()), bySku(product?.sku ?? "")];
  const seen = async (at: TestShop, request: GetRequest) => {
    const { product } = await at.catalog.getProduct(request);
    return `${product?.name}, ${product?.stockQuantity}`;
  };
  for (const request of requests) await Promise.all([warm(shop, request), warm(other, request)]);
  const before = await seen(shop, byId(id));
  await writes[name]?.(id);
  if (name !== "CreateOrder") {
    for (const request of requests) expect(await seen(shop, request)).not.toBe(before);
  }
  for (const request of requests) await expect.poll(() => seen(shop, request)).not.toBe(before);
  for (const request of requests) await expect.poll(() => seen(other, request)).not.toBe(before);
});

test("a product that is created or deleted is seen immediately, also in lists and counts", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  const sku = `SKU-${randomUUID().slice(0, 13)}`;
  const categoryId = await makeCategory(shop);
  const list = () => shop.catalog.listProducts({ categoryId });
  expect(await failureOf(shop.catalog.getProduct(bySku(sku)))).toMatchObject({ reason: "PRODUCT_NOT_FOUND" });
  expect((await list()).products).toHaveLength(0);
  const created = await shop.catalog.createProduct({
    product: { sku, name: "Tea", categoryId, price: { currencyCode: "EUR", minorUnits: 1n } },
  });
  expect((await shop.catalog.getProduct(bySku(sku))).product?.id).toBe(created.product?.id);
  expect((await list()).products).toHaveLength(1);
  const count = async () =>
    (await shop.catalog.listCategories({ pageSize: 100 })).categories.find(({ id }) => id === categoryId)
      ?.productCount;
  expect(await count()).toBe(1n);
  await warm(other, byId(id));
  await shop.catalog.deleteProduct({ id: created.product?.id ?? "" });
  expect(await failureOf(shop.catalog.getProduct(bySku(sku)))).toMatchObject({ reason: "PRODUCT_NOT_FOUND" });
  expect((await list()).products).toHaveLength(0);
  expect(await count()).toBe(0n);
  await shop.catalog.updateCategory({
    category: { id: categoryId, name: "Renamed" },
    updateMask: { paths: ["name"] },
  });
  const { categories } = await shop.catalog.listCategories({ pageSize: 100 });
  expect(categories.find((category) => category.id === categoryId)?.name).toBe("Renamed");
});

test("different requests have different responses", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  await warm(shop, byId(id));
  const masked = await get(shop, { ...byId(id), readMask: { paths: ["name"] } });
  expect(masked.state).not.toBe("memory");
  expect([masked.product?.name, masked.product?.sku]).toEqual([expect.stringContaining("Product"), ""]);
  await shop.catalog.deleteProduct({ id });
  const deleted = { ...byId(id), showDeleted: true };
  expect((await get(shop, deleted)).product?.deleteTime).toBeDefined();
  expect(await failureOf(shop.catalog.getProduct(byId(id)))).toMatchObject({ reason: "PRODUCT_NOT_FOUND" });
  expect((await get(shop, deleted)).product?.deleteTime).toBeDefined();
});

test("an unknown field does not change the key", async () => {
  const request = byId(await makeProduct(shop, { stock: 1n }));
  const known = toBinary(GetProductRequestSchema, create(GetProductRequestSchema, request));
  let value = 0;
  /** Reads with another value of an unknown field each time: were it part of the key, none would be in memory. */
  const getWithUnknownField = async () => {
    await warm(shop, request);
    value += 1;
    // Field 1000, a varint.
    const body = Buffer.concat([known, Buffer.from([0xc0, 0x3e, value])]);
    const response = await fetch(`${shop.url}/cartwright.catalog.v1.CatalogService/GetProduct`, {
      method: "POST",
      headers: { "content-type": "application/proto" },
      body,
    });
    const { product } = fromBinary(GetProductResponseSchema, new Uint8Array(await response.arrayBuffer()));
    expect(product?.id).toBe(request.key.value);
    return response.headers.get("x-cartwright-cache");
  };
  await expect.poll(getWithUnknownField).toBe("memory");
});

/** Runs work while every query of products waits for a lock. */
async function withProductsLocked(work: () => Promise<void>): Promise<void> {
  await shop.database.query("begin");
  await shop.database.query("lock table product in access exclusive mode");
  try {
    await work();
  } finally {
    await shop.database.query("rollback");
  }
}

/** Waits until one query waits for a lock. */
async function waitForBlockedQuery(): Promise<void> {
  const countBlocked = async () => {
    // Within a transaction the view would stay as it was at first.
    await shop.database.query("select pg_stat_clear_snapshot()");
    const rows = await shop.database.query(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return rows.length;
  };
  await expect.poll(countBlocked).toBe(1);
}

test("callers who leave or time out do not stop the load for those who still wait", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  const waiting: ReturnType<typeof shop.catalog.getProduct>[] = [];
  await withProductsLocked(async () => {
    const caller = new AbortController();
    const left = failureOf(shop.catalog.getProduct(byId(id), { signal: caller.signal }));
    await waitForBlockedQuery();
    const late = failureOf(shop.catalog.getProduct(byId(id), { timeoutMs: 150 }));
    for (let count = 0; count < 5; count += 1) {
      waiting.push(shop.catalog.getProduct(byId(id), { timeoutMs: 60_000 }));
    }
    caller.abort();
    await left;
    expect((await late).code).toBe("DeadlineExceeded");
  });
  for (const { product } of await Promise.all(waiting)) expect(product?.id).toBe(id);
});

test("the deadline of the caller who starts a load is not that of the load", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  let waiting: ReturnType<typeof shop.catalog.getProduct> | undefined;
  await withProductsLocked(async () => {
    const late = failureOf(shop.catalog.getProduct(byId(id), { timeoutMs: 500 }));
    await waitForBlockedQuery();
    waiting = shop.catalog.getProduct(byId(id), { timeoutMs: 60_000 });
    expect((await late).code).toBe("DeadlineExceeded");
  });
  expect((await waiting)?.product?.id).toBe(id);
});

test("services with different databases share no entries on one Redis", async () => {
  const otherShop = await startShop();
  const id = await makeProduct(shop, { stock: 1n });
  await warm(shop, byId(id));
  await otherShop.catalog.listCategories({});
  expect(await failureOf(otherShop.catalog.getProduct(byId(id)))).toMatchObject({
    reason: "PRODUCT_NOT_FOUND",
  });
  await otherShop.close();
});

test("with CACHE=off each response is computed, and writes still invalidate other replicas", async () => {
  const uncached = await startShop({ CACHE: "off" }, silentLog, async () => shop.database.url);
  const id = await makeProduct(shop, { stock: 1n });
  expect([await stateOf(uncached, byId(id)), await stateOf(uncached, byId(id))]).toEqual([
    "bypass",
    "bypass",
  ]);
  await warm(shop, byId(id));
  await setName(uncached, id, "New");
  await expect.poll(async () => (await get(shop, byId(id))).product?.name).toBe("New");
  await uncached.close();
});

test("a write that fails does not change what readers see", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  await warm(shop, byId(id));
  await failureOf(shop.catalog.updateProduct({ product: { id, name: "X", etag: "999" } }));
  expect((await get(shop, byId(id))).product?.stockQuantity).toBe(1n);
});

test("every entry in Redis expires", async () => {
  const redis = new Redis(inject("redisUrl"));
  await warm(shop, byId(await makeProduct(shop, { stock: 1n })));
  const findKeys = () => redis.keys("cartwright:*");
  await expect.poll(async () => (await findKeys()).length).toBeGreaterThan(0);
  const keys = await findKeys();
  const lives = await Promise.all(keys.map((key) => redis.pttl(key)));
  // -1: it never expires.
  expect(keys.filter((key, at) => lives[at] === -1 && !key.endsWith(":run"))).toEqual([]);
  redis.disconnect();
});
