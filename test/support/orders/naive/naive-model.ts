import pg from "pg";
import type { TestShop } from "../../shop.ts";
import { proxiedUrl, startCommitProxy } from "../../stores/commit-proxy.ts";
import { setExpiry } from "../expiry-worker.ts";
import { createFixture, initialState, readStoredShop } from "../model/fixture.ts";
import { describeOrder, stateOf } from "../model/model-order.ts";
import { ORDER_NOT_FOUND, stockOf } from "../model/model-state.ts";
import { isWrite, type KnownIds, type Observation, type Read } from "../model/operation.ts";
import type { Fault, ShopRun, StoredShop } from "../model/shop-run.ts";
import type { Flaw } from "./flaws.ts";
import { NaiveShop } from "./naive-shop.ts";

/** Two pools of connections to the database of a shop, whose commits can be interrupted. */
export interface NaiveModel {
  openRun(): Promise<ShopRun>;
  close(): Promise<void>;
}

/** Starts two naive replicas on the database of a shop, which creates the products and customers. */
export async function startNaiveModel(
  shop: TestShop,
  categorySlug: string,
  flaw: Flaw | undefined,
): Promise<NaiveModel> {
  const proxies = await Promise.all(
    // The last one is the worker.
    [0, 1, 2].map(() => startCommitProxy(Number(new URL(shop.database.url).port))),
  );
  const pools = proxies.map((proxy) => {
    const pool = new pg.Pool({ connectionString: proxiedUrl(shop.database.url, proxy), max: 4 });
    // Connections are interrupted.
    pool.on("error", () => {});
    return pool;
  });
  return {
    async openRun() {
      const fixture = await createFixture(shop, shop.database, categorySlug);
      const replicas = pools.map((pool) => new NaiveShop(pool, fixture, flaw));
      const worker = replicas.at(-1);
      let hasFaults = false;
      const occurred: Fault[] = [];
      return {
        state: initialState,
        hasFaults: () => hasFaults,
        occurredFaults: () => occurred,
        call: async (operation, replica, ids) => {
          if (!isWrite(operation))
            return readNaive(operation, await readStoredShop(shop.database, fixture), ids);
          if (operation.method === "PassExpireTime") {
            await setExpiry(shop.database, "-1 hour", ids.orders.get(operation.order) ?? "");
            // A worker that loses its connection leaves the rest to a later round.
            await worker?.expire().catch(() => {});
            return { outcome: { code: "OK" } };
          }
          return (await replicas[replica]?.write(operation, ids)) ?? { outcome: undefined };
        },
        async inject(fault) {
          if (fault.kind !== "cut commit" && fault.kind !== "kill worker") return;
          hasFaults = true;
          const { moment } = fault;
          const onInterrupt = () => void occurred.push(fault);
          proxies[fault.kind === "kill worker" ? 2 : fault.replica]?.interrupt({ moment, onInterrupt });
        },
        async endFaults() {
          for (const proxy of proxies) proxy.reset();
        },
        completeExpiries: async () => worker?.expire(),
        readStored: () => readStoredShop(shop.database, fixture),
      };
    },
    async close() {
      await Promise.all(pools.map((pool) => pool.end()));
      await Promise.all(proxies.map((proxy) => proxy.close()));
    },
  };
}

/** Returns the outcome of a read of what is stored. */
function readNaive(read: Read, { products, orders }: StoredShop, ids: KnownIds): Observation {
  if (read.method === "GetProduct") {
    const product = products[read.product];
    const inStock = product !== undefined && stockOf(product) > 0;
    return { outcome: { code: "OK", inStock, price: product?.price } };
  }
  if (read.method === "ListOrders") {
    const own = Object.entries(orders).filter(([key]) => key.startsWith(`${read.owner}/`));
    const texts = own.flatMap(([key, found]) =>
      found.map((order) => `${ids.orders.has(key) ? key : "unacknowledged"} ${stateOf(order)}`),
    );
    return { outcome: { code: "OK", orders: texts.sort() } };
  }
  if (read.method === "QuoteOrder") throw new Error("there are no quotes");
  const [order] = orders[read.order] ?? [];
  if (order === undefined) return { outcome: ORDER_NOT_FOUND };
  if (read.method === "ListOrderEvents") return { outcome: { code: "OK", events: order.events } };
  return { outcome: describeOrder(order) };
}
