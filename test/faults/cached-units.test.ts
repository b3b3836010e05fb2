import { randomUUID } from "node:crypto";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { startProcess } from "../support/service-process.ts";
import { createTestDatabase } from "../support/stores/database.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import { startTcpProxy } from "../support/stores/tcp-proxy.ts";

/** Age up to which cached units may be older than the last acknowledged order, in milliseconds. */
const MAX_AGE_MS = 1_000;
const STOCK = 40;

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
  return { first, second, order, readUnits, proxy, processes };
}

test("cached units are a second old at most in two replicas, and no response shows units of a sold out product", async () => {
  const { first, second, order, readUnits } = await startShop();
  const replicas = [first, second];
  /** The times at which orders were acknowledged. */
  const acknowledgedAtMs: number[] = [];
  const stale: string[] = [];
  const read = async (replica: Replica) => {
    const startMs = performance.now();
    const sold = acknowledgedAtMs.filter((atMs) => startMs - atMs > MAX_AGE_MS).length;
    const isSoldOut = acknowledgedAtMs.length === STOCK;
    for (const units of await readUnits(replica)) {
      if (units > STOCK - sold || (isSoldOut && units > 0)) stale.push(`${units} units after ${sold} orders`);
    }
  };
  let isOver = false;
  const readers = replicas.flatMap((replica) =>
    [1, 2].map(async () => {
      while (!isOver) await read(replica);
    }),
  );
  for (let count = 0; count < STOCK; count += 1) {
    await order(count % 2 === 0 ? first : second);
    acknowledgedAtMs.push(performance.now());
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
  }
  // Availability is as of the last acknowledged order.
  for (const replica of replicas) expect(await readUnits(replica)).toEqual([0, 0, 0, 0]);
  isOver = true;
  await Promise.all(readers);
  expect(stale.slice(0, 5)).toEqual([]);
});

test("when a replica is killed between the commit of an order and its invalidation, the outbox repeats it in the others", async () => {
  const { first, second, order, readUnits, proxy, processes } = await startShop();
  const before = Array(4).fill(STOCK);
  expect(await readUnits(second)).toEqual(before);
  proxy.freeze();
  // The order does not wait for the invalidation, which does not reach Redis.
  await order(first);
  processes[0]?.child.kill("SIGKILL");
  await processes[0]?.exited;
  await expect.poll(() => readUnits(second), { timeout: 30_000 }).toEqual(Array(4).fill(STOCK - 1));
});
