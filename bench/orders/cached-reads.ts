import { setTimeout as sleep } from "node:timers/promises";
import { openGrpcClient } from "../harness/grpc-client.ts";
import type { Service } from "../harness/service.ts";
import type { LoadGenerator } from "../load/load-generator.ts";
import { productByIdRequest } from "../workload/requests.ts";
import { CUSTOMERS } from "./order-shop.ts";

/** The rate of GetProduct: high enough for a percentile, too low to use much of the processor. */
export const READS_PER_SECOND = 200;
const TICK_MS = 1;

/** What the readers of a product saw while orders were placed. */
export interface CachedReads {
  /** The latencies of GetProduct, in milliseconds. */
  ms: number[];
  /** Loads of the product: responses that were not read from the cache; those that were sent during one share it. */
  loads: number;
  seconds: number;
  /** The orders that were placed meanwhile, and calls of both methods that failed. */
  orders: number;
  failed: number;
}

export interface CachedReadsOptions {
  service: Service;
  generator: LoadGenerator;
  /** The numbers of all products. */
  products: number;
  /** The product that is read, and the one that is in each order beside a random one. */
  readProduct: number;
  orderedProduct: number;
  ordersPerSecond: number;
  seconds: number;
}

/** Reads a product at a fixed rate while orders are placed at a fixed rate. */
export async function readDuringOrders(options: CachedReadsOptions): Promise<CachedReads> {
  const { service, generator, products, readProduct, orderedProduct, ordersPerSecond, seconds } = options;
  const client = openGrpcClient(service.url, 1);
  const request = productByIdRequest(readProduct);
  const reads: CachedReads = { ms: [], loads: 0, seconds, orders: 0, failed: 0 };
  let loadedAtMs = 0;
  const read = async (isCounted: boolean) => {
    const sentMs = performance.now();
    try {
      const { cache } = await client.call(request);
      if (!isCounted) return;
      const receivedMs = performance.now();
      reads.ms.push(receivedMs - sentMs);
      if (cache !== "miss" && cache !== "bypass") return;
      if (sentMs > loadedAtMs) reads.loads += 1;
      loadedAtMs = receivedMs;
    } catch {
      reads.failed += 1;
    }
  };
  try {
    await read(false);
    const placing = generator.run({
      orders: { products, customers: CUSTOMERS, hotProduct: orderedProduct },
      callers: 0,
      perSecond: ordersPerSecond,
      seconds,
    });
    const calls: Promise<void>[] = [];
    const startMs = performance.now();
    for (let elapsedMs = 0; elapsedMs < seconds * 1_000; elapsedMs = performance.now() - startMs) {
      while (calls.length < (elapsedMs / 1_000) * READS_PER_SECOND) calls.push(read(true));
      await sleep(TICK_MS);
    }
    await Promise.all(calls);
    const placed = await placing;
    reads.orders = placed.ms.length;
    reads.failed += [...placed.failures.values()].reduce((sum, count) => sum + count, 0);
    return reads;
  } finally {
    client.close();
  }
}
