import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { withRetries } from "../../src/kernel/async/with-retries.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";
import { terminateConnections } from "../support/stores/database-activity.ts";
import { findViolations } from "../support/stores/invariants.ts";

const ORDERS = 150;

let shop: TestShop;
beforeAll(async () => {
  // All orders wait for one row: on a busy machine longer than a statement may take by default.
  shop = await startShop({ DB_POOL_MAX: "5", DB_POOL_WAIT_MS: "500", DB_STATEMENT_TIMEOUT_MS: "60000" });
});
afterAll(() => shop.close());

test("while database connections are killed, each order is created once and calls fail only with UNAVAILABLE", async () => {
  const productId = await makeProduct(shop, { stock: 1_000n });
  let completed = 0;
  const killConnections = async () => {
    for (let killedAt = 0; killedAt < ORDERS; killedAt += 15) {
      await vi.waitUntil(() => completed >= killedAt, { timeout: 60_000, interval: 5 });
      await terminateConnections(shop.database);
    }
  };
  const failures = new Set<string>();
  const createOrder = async () => {
    const request = {
      requestId: randomUUID(),
      order: { items: [{ productId, quantity: 1n }] },
    };
    await withRetries(() => shop.orders.createOrder(request), {
      attempts: 1_000,
      firstDelayMs: 20,
      maxDelayMs: 20,
      onRetry: (cause) => {
        const error = ConnectError.from(cause);
        const hasRetryInfo = error.findDetails(RetryInfoSchema).length === 1;
        failures.add(`${Code[error.code]}, ${hasRetryInfo ? "with" : "without"} RetryInfo`);
      },
    });
    completed += 1;
  };
  await Promise.all([killConnections(), ...Array.from({ length: ORDERS }, createOrder)]);
  // Most batches are repeated on another connection, so there may be no failure.
  expect([...failures].filter((failure) => failure !== "Unavailable, with RetryInfo")).toEqual([]);
  expect(await stockOf(shop, productId)).toBe(850n);
  expect(await findViolations(shop.database.url)).toEqual([]);
});
