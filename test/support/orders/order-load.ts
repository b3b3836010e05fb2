import { randomInt, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { withRetries } from "../../../src/kernel/async/with-retries.ts";
import type { Clients } from "../shop.ts";
import type { TestDatabase } from "../stores/database.ts";
import { findViolations } from "../stores/invariants.ts";

const RETRY_DELAY_MS = 20;
const MAX_LINES = 3;
const CONCURRENT_REPEATS = 16;
/** A small pool of connections rejects some of the concurrent repeats. */
const REPEATS = { attempts: 100, firstDelayMs: RETRY_DELAY_MS, maxDelayMs: RETRY_DELAY_MS };

/** A request that is repeated until it has a response. */
interface OrderRequest {
  requestId: string;
  order: { items: { productId: string; quantity: bigint }[] };
}

export interface OrderLoadOptions {
  /** Number of concurrent buyers. */
  buyers: number;
  productIds: readonly string[];
  /** Returns the clients for the next attempt of a buyer. */
  clients(buyer: number): Promise<Clients>;
}

/** Buyers who order until the load is stopped. Each repeats a failed order with its request_id. */
export interface OrderLoad {
  /** The ids of the acknowledged orders by request_id. */
  readonly acknowledged: ReadonlyMap<string, string>;
  /** The codes and reasons of failed attempts. */
  readonly failures: ReadonlySet<string>;
  /** Resolves when this number of orders more is acknowledged. */
  progress(orders: number): Promise<void>;
  /** Resolves when each buyer's last order is acknowledged. */
  stop(): Promise<void>;
  /**
   * Expects that the stored orders of the products are the acknowledged ones, that repeats return them, and that all
   * invariants hold.
   */
  expectStored(database: Pick<TestDatabase, "url" | "query">, clients: Clients): Promise<void>;
}

/** Starts buyers who order up to three products in random order. The stock must suffice. */
export function startOrderLoad({ buyers, productIds, clients }: OrderLoadOptions): OrderLoad {
  const requests = new Map<string, OrderRequest>();
  const acknowledged = new Map<string, string>();
  const failures = new Set<string>();
  const waiting = new Set<() => void>();
  let isRunning = true;

  const placeOrder = async (buyer: number, request: OrderRequest) => {
    for (;;) {
      try {
        const { order } = await (await clients(buyer)).orders.createOrder(request);
        acknowledged.set(request.requestId, order?.id ?? "");
        for (const check of waiting) check();
        return;
      } catch (error) {
        failures.add(describeFailure(error));
        await sleep(RETRY_DELAY_MS);
      }
    }
  };
  const running = Array.from({ length: buyers }, async (_, buyer) => {
    while (isRunning) {
      const request = { requestId: randomUUID(), order: { items: randomItems(productIds) } };
      requests.set(request.requestId, request);
      await placeOrder(buyer, request);
    }
  });
  return {
    acknowledged,
    failures,
    progress(orders) {
      const target = acknowledged.size + orders;
      return new Promise((resolve) => {
        const check = () => {
          if (acknowledged.size < target) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      });
    },
    async stop() {
      isRunning = false;
      await Promise.all(running);
    },
    async expectStored(database, { orders }) {
      const rows = await database.query<{ id: string; request_id: string }>(
        "select id, request_id from orders where id in (select order_id from order_item where product_id = any($1))",
        [productIds],
      );
      expect(new Map(rows.map(({ id, request_id }) => [request_id, id]))).toEqual(acknowledged);
      expect(rows).toHaveLength(acknowledged.size);
      const unrepeated = requests.values();
      const repeatAll = async () => {
        for (const request of unrepeated) {
          const { order, replayed } = await withRetries(() => orders.createOrder(request), REPEATS);
          expect([order?.id, replayed]).toEqual([acknowledged.get(request.requestId), true]);
        }
      };
      await Promise.all(Array.from({ length: CONCURRENT_REPEATS }, repeatAll));
      expect(await findViolations(database.url)).toEqual([]);
    },
  };
}

/** Returns the code and reason of a failure. A failure of the connection has no reason. */
export function describeFailure(failure: unknown): string {
  const error = ConnectError.from(failure);
  const [info] = error.findDetails(ErrorInfoSchema);
  return info === undefined ? "connection failed" : `${Code[error.code]} ${info.reason}`;
}

function randomItems(productIds: readonly string[]) {
  const rest = [...productIds];
  const count = randomInt(1, Math.min(MAX_LINES, rest.length) + 1);
  return Array.from({ length: count }, () => ({
    productId: rest.splice(randomInt(rest.length), 1)[0] ?? "",
    quantity: BigInt(randomInt(1, 4)),
  }));
}
