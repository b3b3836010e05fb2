import { randomUUID } from "node:crypto";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { createChannels, parseInvalidation } from "../../src/infra/cache/invalidation/messages.ts";
import { startProcess } from "../support/service-process.ts";
import { createTestDatabase } from "../support/stores/database.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import { startTcpProxy } from "../support/stores/tcp-proxy.ts";

/** Age up to which cached units may be older than the last acknowledged order, in milliseconds. */
const MAX_AGE_MS = 1_000;
const STOCK = 40;
/** The invalidation of the first order of a round is sent immediately, later ones are delayed. */
const ORDERS_PER_ROUND = 10;

interface Replica {
  catalog: Client<typeof CatalogService>;
  orders: Client<typeof OrderService>;
}

/** Starts two replicas on one database, of which the first reaches Redis through a proxy, and creates a product. */
async function startShop() {
  const [database, redis] = await Promise.all([createTestDatabase(), startDedicatedRedis()]);
  onTestFinished(() => database.drop());
  const proxy = await startTcpProxy(redis.port);
  onTestFinished(() => proxy.close());
  const stores = { DATABASE_URL: database.url, SEED_DEMO: "off", PORT: "0" };
  const processes = [`redis://127.0.0.1:${proxy.port}`, redis.url].map((url) =>
    startProcess({ ...stores, REDIS_URL: url }),
  );
  onTestFinished(async () => {
    for (const { child } of processes) child.kill("SIGKILL");
    await Promise.all(processes.map(({ exited }) => exited));
  });
  const [first, second] = await Promise.all(
    processes.map(async ({ listening }): Promise<Replica> => {
      const transport = createGrpcTransport({ baseUrl: await listening });
      return {
        catalog: createClient(CatalogService, transport),
        orders: createClient(OrderService, transport),
      };
    }),
  );
  if (first === undefined || second === undefined) throw new Error("no replica");
  const { category } = await first.catalog.createCategory({ category: { slug: "c", name: "C" } });
  const { product } = await first.catalog.createProduct({
    product: {
      sku: "SKU",
      name: "Product",
      categoryId: category?.id ?? "",
      price: { currencyCode: "EUR", minorUnits: 1n },
      stockQuantity: BigInt(STOCK),
    },
  });
  const id = product?.id ?? "";
  const order = (replica: Replica) =>
    replica.orders.createOrder({
      requestId: randomUUID(),
      order: { items: [{ productId: id, quantity: 1n }] },
    });
  /** Returns the units in the response of each cached method that shows them. */
  const readUnits = async ({ catalog }: Replica): Promise<number[]> => {
    const [byId, bySku, batch, list] = await Promise.all([
      catalog.getProduct({ key: { case: "id", value: id } }),
      catalog.getProduct({ key: { case: "sku", value: "SKU" } }),
      catalog.batchGetProducts({ ids: [id] }),
      catalog.listProducts({ pageSize: 10 }),
    ]);
    const products = [byId.product, bySku.product, ...batch.products, ...list.products];
    return products.map((found) => Number(found?.stockQuantity));
  };
  return { id, first, second, order, readUnits, database, redis, proxy, processes };
}

test("cached units are a second old at most in two replicas, and no response shows units of a sold out product", async () => {
  const { first, second, order, readUnits } = await startShop();
  const replicas = [first, second];
  /** The times at which orders were acknowledged. */
  const acknowledgedAtMs: number[] = [];
  /** Reads through a replica. Fails if a response lacks an order that was acknowledged more than MAX_AGE_MS before. */
  const read = async (replica: Replica) => {
    const startMs = performance.now();
    const sold = acknowledgedAtMs.filter((atMs) => startMs - atMs > MAX_AGE_MS).length;
    const isSoldOut = acknowledgedAtMs.length === STOCK;
    const units = Math.max(...(await readUnits(replica)));
    expect(units, `units after ${sold} orders`).toBeLessThanOrEqual(isSoldOut ? 0 : STOCK - sold);
    return units;
  };
  const placeOrder = async (replica: Replica) => {
    await order(replica);
    acknowledgedAtMs.push(performance.now());
  };
  while (acknowledgedAtMs.length < STOCK) {
    for (let count = 0; count < ORDERS_PER_ROUND; count += 1) {
      await Promise.all([placeOrder(count % 2 === 0 ? first : second), ...replicas.map(read)]);
    }
    // The next round begins when all responses show the orders of this one.
    const left = STOCK - acknowledgedAtMs.length;
    const readUntilShown = async (replica: Replica) => {
      while ((await read(replica)) > left);
    };
    await Promise.all(replicas.map(readUntilShown));
  }
  for (const replica of replicas) expect(await readUnits(replica)).toEqual([0, 0, 0, 0]);
});

/** Returns the throttled tags of the invalidations that are published from now on. */
async function recordThrottledTags(url: string): Promise<string[]> {
  const subscriber = new Redis(url);
  onTestFinished(() => subscriber.disconnect());
  const tags: string[] = [];
  subscriber.on("pmessage", (_pattern, _channel, message: string) =>
    tags.push(...parseInvalidation(message).throttled.map(({ tag }) => tag)),
  );
  await subscriber.psubscribe(createChannels("*").invalidations);
  return tags;
}

test("when a replica is killed between the commit of an order and its invalidation, the outbox repeats it in the others", async () => {
  const { id, first, second, order, readUnits, database, redis, proxy, processes } = await startShop();
  // The consumer that counts the sale would invalidate the product, too.
  await database.query("delete from outbox_cursor where consumer = 'product-sales'");
  const published = await recordThrottledTags(redis.url);
  expect(await readUnits(second)).toEqual(Array(4).fill(STOCK));
  proxy.freeze();
  // The order does not wait for the invalidation, which does not reach Redis.
  await order(first);
  processes[0]?.child.kill("SIGKILL");
  await processes[0]?.exited;
  await expect.poll(() => published).toContain(`product:${id}`);
  await expect.poll(() => readUnits(second)).toEqual(Array(4).fill(STOCK - 1));
});
