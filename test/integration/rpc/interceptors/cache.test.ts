import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
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

/** Two processes' worth of one shop: same database, same Redis. */
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

/** A GetProduct, and which tier has answered it. */
async function get(at: TestShop, request: GetRequest) {
  let state = "";
  const onHeader = (headers: Headers) => {
    state = headers.get("x-cartwright-cache") ?? "";
  };
  const { product } = await at.catalog.getProduct(request, { onHeader });
  return { state, product };
}

const stateOf = async (at: TestShop, request: GetRequest) => (await get(at, request)).state;

/** Asks until it is in memory: a machine that is busy may keep a shop from relying on it for a while. */
async function warm(at: TestShop, request: GetRequest): Promise<void> {
  await expect.poll(() => stateOf(at, request)).toBe("memory");
}

async function setName(at: TestShop, id: string, name: string): Promise<void> {
  await at.catalog.updateProduct({ product: { id, name }, updateMask: { paths: ["name"] } });
}

test("an answer says which tier it is from: made, memory, and in another process Redis", async () => {
  await warm(shop, byId(await makeProduct(shop, { stock: 1n })));
  await warm(other, byId(await makeProduct(shop, { stock: 1n })));
  await expect
    .poll(async () => {
      const request = byId(await makeProduct(shop, { stock: 1n }));
      const states = [await stateOf(shop, request), await stateOf(shop, request)];
      // It is shared in the background.
      await sleep(20);
      return [...states, await stateOf(other, request), await stateOf(other, request)];
    })
    .toEqual(["miss", "memory", "redis", "memory"]);
});

/** Each kind of write, and what an answer shows of it. */
const writes: Record<string, (id: string) => Promise<unknown>> = {
  UpdateProduct: (id) => setName(shop, id, "New"),
  AdjustStock: (id) => shop.catalog.adjustStock({ productId: id, delta: 5n, reason: 1 }),
  CreateOrder: (id) =>
    shop.orders.createOrder({
      requestId: randomUUID(),
      order: { items: [{ productId: id, quantity: 1n }] },
    }),
};

test.each(Object.keys(writes))(
  "%s is seen at once where it was made, and then in the other",
  async (name) => {
    const id = await makeProduct(shop, { stock: 9n });
    const { product } = await shop.catalog.getProduct(byId(id));
    // By its sku, and in upper case too.
    const requests = [byId(id), byId(id.toUpperCase()), bySku(product?.sku ?? "")];
    const seen = async (at: TestShop, request: GetRequest) => {
      const { product } = await at.catalog.getProduct(request);
      return `${product?.name}, ${product?.stockQuantity}`;
    };
    for (const request of requests) await Promise.all([warm(shop, request), warm(other, request)]);
    const before = await seen(shop, byId(id));
    await writes[name]?.(id);
    for (const request of requests) expect(await seen(shop, request)).not.toBe(before);
    // A process hears of another's writes within 50 ms: the rest is for a machine that is busy.
    await sleep(150);
    for (const request of requests) expect(await seen(other, request)).not.toBe(before);
  },
);

test("what is made or deleted is there or not at once, and lists and counts show it", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  const sku = `SKU-${randomUUID().slice(0, 13)}`;
  const categoryId = await makeCategory(shop);
  const list = () => shop.catalog.listProducts({ categoryId });
  expect(await failureOf(shop.catalog.getProduct(bySku(sku)))).toMatchObject({ reason: "PRODUCT_NOT_FOUND" });
  expect((await list()).products).toHaveLength(0);
  const made = await shop.catalog.createProduct({
    product: { sku, name: "Tea", categoryId, price: { currencyCode: "EUR", minorUnits: 1n } },
  });
  expect((await shop.catalog.getProduct(bySku(sku))).product?.id).toBe(made.product?.id);
  expect((await list()).products).toHaveLength(1);
  const count = async () =>
    (await shop.catalog.listCategories({ pageSize: 100 })).categories.find(({ id }) => id === categoryId)
      ?.productCount;
  expect(await count()).toBe(1n);
  await warm(other, byId(id));
  await shop.catalog.deleteProduct({ id: made.product?.id ?? "" });
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

test("requests that ask for another thing have another answer", async () => {
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

// On a machine that stands still for a moment nothing in memory is trusted.
test("fields that the shop does not know make no other question of it", { retry: 2 }, async () => {
  const request = byId(await makeProduct(shop, { stock: 1n }));
  await warm(shop, request);
  const known = toBinary(GetProductRequestSchema, create(GetProductRequestSchema, request));
  // Field 1000, a varint.
  for (const value of [1, 2]) {
    const body = Buffer.concat([known, Buffer.from([0xc0, 0x3e, value])]);
    const answer = await fetch(`${shop.url}/cartwright.catalog.v1.CatalogService/GetProduct`, {
      method: "POST",
      headers: { "content-type": "application/proto" },
      body,
    });
    expect([answer.status, answer.headers.get("x-cartwright-cache")]).toEqual([200, "memory"]);
    const { product } = fromBinary(GetProductResponseSchema, new Uint8Array(await answer.arrayBuffer()));
    expect(product?.id).toBe(request.key.value);
  }
});

test("a caller who leaves, or has little time, takes the answer from none of those who wait for it", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  await shop.database.query("begin");
  await shop.database.query("lock table product in access exclusive mode");
  const gone = new AbortController();
  const left = failureOf(shop.catalog.getProduct(byId(id), { signal: gone.signal }));
  const late = failureOf(shop.catalog.getProduct(byId(id), { timeoutMs: 150 }));
  await sleep(100);
  const waiting = Array.from({ length: 5 }, () => shop.catalog.getProduct(byId(id), { timeoutMs: 5_000 }));
  gone.abort();
  await left;
  expect((await late).code).toBe("DeadlineExceeded");
  await sleep(300);
  await shop.database.query("rollback");
  for (const { product } of await Promise.all(waiting)) expect(product?.id).toBe(id);
});

test("who has little time and is the first leaves its deadline to nobody", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  await shop.database.query("begin");
  await shop.database.query("lock table product in access exclusive mode");
  const late = failureOf(shop.catalog.getProduct(byId(id), { timeoutMs: 150 }));
  await sleep(30);
  const waiting = shop.catalog.getProduct(byId(id), { timeoutMs: 5_000 });
  await late;
  await sleep(300);
  await shop.database.query("rollback");
  expect((await waiting).product?.id).toBe(id);
});

test("shops with databases of their own have nothing to do with each other on one Redis", async () => {
  const stranger = await startShop();
  const id = await makeProduct(shop, { stock: 1n });
  await warm(shop, byId(id));
  await stranger.catalog.listCategories({});
  expect(await failureOf(stranger.catalog.getProduct(byId(id)))).toMatchObject({
    reason: "PRODUCT_NOT_FOUND",
  });
  await stranger.close();
});

test("with CACHE=off each answer is made anew, and writes are still told to others", async () => {
  const plain = await startShop({ CACHE: "off" }, silentLog, async () => shop.database.url);
  const id = await makeProduct(shop, { stock: 1n });
  expect([await stateOf(plain, byId(id)), await stateOf(plain, byId(id))]).toEqual(["bypass", "bypass"]);
  await warm(shop, byId(id));
  await setName(plain, id, "New");
  await sleep(150);
  expect((await get(shop, byId(id))).product?.name).toBe("New");
  await plain.close();
});

test("a write that is repeated by its request_id, or is refused, does no harm", async () => {
  const id = await makeProduct(shop, { stock: 1n });
  await warm(shop, byId(id));
  await failureOf(shop.catalog.updateProduct({ product: { id, name: "X", etag: "999" } }));
  expect((await get(shop, byId(id))).product?.stockQuantity).toBe(1n);
});

test("no entry is kept for longer than its method's policy lets it", async () => {
  const redis = new Redis(inject("redisUrl"));
  await warm(shop, byId(await makeProduct(shop, { stock: 1n })));
  await sleep(50);
  const keys = await redis.keys("cartwright:*");
  const lives = await Promise.all(keys.map((key) => redis.pttl(key)));
  // Nothing stays for ever: -1 would be that.
  expect(keys.filter((key, at) => lives[at] === -1 && !key.endsWith(":run"))).toEqual([]);
  redis.disconnect();
});
