import { randomUUID } from "node:crypto";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import type { Product } from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { type ServiceProcess, startProcess } from "../support/service-process.ts";
import { createTestDatabase } from "../support/stores/database.ts";
import { startDedicatedRedis } from "../support/stores/dedicated-redis.ts";
import { startTcpProxy } from "../support/stores/tcp-proxy.ts";

interface Replica {
  catalog: Client<typeof CatalogService>;
  orders: Client<typeof OrderService>;
}

/** A write with a request_id, and the change that it makes visible. */
interface Write {
  run(replica: Replica, requestId: string, productId: string): Promise<unknown>;
  /** Selects the changed value. */
  column: "price_minor" | "on_hand - reserved";
  read(product: Product | undefined): bigint | undefined;
}

const writes: Record<string, Write> = {
  UpdateProduct: {
    run: ({ catalog }, requestId, id) =>
      catalog.updateProduct({
        product: { id, price: { currencyCode: "EUR", minorUnits: 99n } },
        updateMask: { paths: ["price"] },
        requestId,
      }),
    column: "price_minor",
    read: (product) => product?.price?.minorUnits,
  },
  // It sells the product out: units alone may be a second old, and the outbox invalidates them after a crash.
  CreateOrder: {
    run: ({ orders }, requestId, productId) =>
      orders.createOrder({ requestId, order: { items: [{ productId, quantity: 10n }] } }),
    column: "on_hand - reserved",
    read: (product) => product?.stockQuantity,
  },
};

async function connect({ listening }: ServiceProcess): Promise<Replica> {
  const transport = createGrpcTransport({ baseUrl: await listening });
  return { catalog: createClient(CatalogService, transport), orders: createClient(OrderService, transport) };
}

test.each(Object.entries(writes))(
  "when a replica is killed between the commit of %s and its invalidation, a retry at a second one is visible at a third one",
  async (_name, { run, column, read }) => {
    const [database, redis] = await Promise.all([createTestDatabase(), startDedicatedRedis()]);
    onTestFinished(() => database.drop());
    const proxy = await startTcpProxy(redis.port);
    onTestFinished(() => proxy.close());
    // Without workers, the job of the write invalidates nothing.
    const stores = { DATABASE_URL: database.url, SEED_DEMO: "off", WORKERS: "0", PORT: "0" };
    const proxied = startProcess({ ...stores, REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const others = [0, 1].map(() => startProcess({ ...stores, REDIS_URL: redis.url }));
    const processes = [proxied, ...others];
    onTestFinished(async () => {
      for (const { child } of processes) child.kill("SIGKILL");
      await Promise.all(processes.map(({ exited }) => exited));
    });
    const [first, second, third] = await Promise.all(processes.map(connect));
    if (first === undefined || second === undefined || third === undefined) throw new Error("no replica");
    const { category } = await second.catalog.createCategory({ category: { slug: "c", name: "C" } });
    const { product } = await second.catalog.createProduct({
      product: {
        sku: "SKU",
        name: "Product",
        categoryId: category?.id ?? "",
        price: { currencyCode: "EUR", minorUnits: 1n },
        stockQuantity: 10n,
      },
    });
    const id = product?.id ?? "";
    const readThird = async () =>
      read((await third.catalog.getProduct({ key: { case: "id", value: id } })).product);
    const before = await readThird();
    const requestId = randomUUID();
    proxy.freeze();
    const lost = run(first, requestId, id).catch(() => {});
    const stored = async () => {
      const [row] = await database.query<{ value: string }>(
        `select (${column})::text as value from product join inventory on product_id = id`,
      );
      return BigInt(row?.value ?? 0);
    };
    await expect.poll(stored, { interval: 5 }).not.toBe(before);
    proxied.child.kill("SIGKILL");
    await lost;
    // The change is committed, but cached responses do not show it: it was not acknowledged.
    expect(await readThird()).toBe(before);
    await run(second, requestId, id);
    expect(await readThird()).toBe(await stored());
  },
);
