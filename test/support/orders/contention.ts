import { randomInt, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { createCategorySlug, createRow, importRows } from "../import/import-rows.ts";
import { clientsOf, longDeadline, type TestShop } from "../shop.ts";
import { countDeadlocks } from "../stores/database-activity.ts";
import { describeFailure, startOrderLoad } from "./order-load.ts";

const CLIENTS = 200;
const CANCELLING_CLIENTS = 4;
const PRODUCTS = 10;
const STOCK = 1_000_000n;
const PAUSE_MS = 20;
/** Failures of a machine that is too busy for the deadline. Their calls are repeated. */
const BUSY = [
  "DeadlineExceeded DEADLINE_EXCEEDED",
  "DeadlineExceeded OUTCOME_UNKNOWN",
  "Unavailable DATABASE_BUSY",
];

/** What the calls of a run have done. */
export interface ContentionResult {
  orders: number;
  cancellations: number;
  adjustments: number;
  imports: number;
  /** Deadlocks that PostgreSQL has resolved. */
  deadlocks: number;
}

/**
 * Lets 200 clients, each with a connection of its own, order overlapping products in random order, while orders are
 * cancelled, stock is adjusted and the products are imported. Expects that no call fails because of another one, and
 * that the acknowledged orders are stored.
 * @param orders number of orders after which the clients stop
 */
export async function orderOverlappingBaskets(shop: TestShop, orders: number): Promise<ContentionResult> {
  const categorySlug = await createCategorySlug(shop);
  const skus = Array.from({ length: PRODUCTS }, () => randomUUID());
  const importAll = () =>
    importRows(
      shop,
      shuffle(skus).map((sku) =>
        createRow(categorySlug, sku, {
          price: { currencyCode: "EUR", minorUnits: BigInt(randomInt(1, 100)) },
        }),
      ),
    );
  await importRows(
    shop,
    skus.map((sku) => createRow(categorySlug, sku, { stockQuantity: STOCK })),
  );
  const rows = await shop.database.query<{ id: string }>("select id from product where sku = any($1)", [
    skus,
  ]);
  const productIds = rows.map(({ id }) => id);
  const connections = Array.from({ length: CLIENTS }, () =>
    clientsOf(createGrpcTransport({ baseUrl: shop.url, interceptors: [longDeadline] })),
  );
  const load = startOrderLoad({
    buyers: CLIENTS,
    productIds,
    clients: async (buyer) => connections[buyer] ?? shop,
  });
  const counts = { cancellations: 0, adjustments: 0, imports: 0 };
  const failures = new Set<string>();
  let isRunning = true;
  const repeat = async (kind: keyof typeof counts, call: () => Promise<unknown>) => {
    while (isRunning) {
      await call().then(
        () => {
          counts[kind] += 1;
        },
        (error: unknown) => failures.add(describeFailure(error)),
      );
      await sleep(PAUSE_MS);
    }
  };
  const uncancelled = load.acknowledged.values();
  const cancelNext = async () => {
    const { value: id } = uncancelled.next();
    if (id !== undefined) await shop.orders.cancelOrder({ id, requestId: randomUUID() });
  };
  const others = [
    ...Array.from({ length: CANCELLING_CLIENTS }, () => repeat("cancellations", cancelNext)),
    repeat("adjustments", () =>
      shop.catalog.adjustStock({
        productId: productIds[randomInt(PRODUCTS)] ?? "",
        delta: 1n,
        reason: StockReason.RECEIVED,
        requestId: randomUUID(),
      }),
    ),
    repeat("imports", importAll),
  ];
  await load.progress(orders);
  isRunning = false;
  await Promise.all([load.stop(), ...others]);
  const unexpected = [...load.failures, ...failures].filter((failure) => !BUSY.includes(failure));
  expect(unexpected).toEqual([]);
  await load.expectStored(shop.database, shop);
  return { orders: load.acknowledged.size, ...counts, deadlocks: await countDeadlocks(shop.database) };
}

function shuffle<T>(items: readonly T[]): T[] {
  const rest = [...items];
  return items.flatMap(() => rest.splice(randomInt(rest.length), 1));
}
