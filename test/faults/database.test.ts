import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { failureOf } from "../support/errors.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";
import { countLockWaits, whileLocked } from "../support/stores/database-activity.ts";
import { startTcpProxy, type TcpProxy } from "../support/stores/tcp-proxy.ts";

/** A deadline that is never reached, so that a call that hangs fails with DEADLINE_EXCEEDED. */
const DEADLINE = { timeoutMs: 30_000 };

let proxy: TcpProxy;
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop(
    { DB_POOL_MAX: "5", DB_POOL_WAIT_MS: "500", DB_STATEMENT_TIMEOUT_MS: "1000" },
    undefined,
    async (url) => {
      proxy = await startTcpProxy(Number(new URL(url).port));
      const proxied = new URL(url);
      proxied.port = String(proxy.port);
      return proxied.href;
    },
  );
});
afterAll(async () => {
  await proxy.restore();
  await shop.close();
  await proxy.close();
});

const getProduct = (id: string) => shop.catalog.getProduct({ key: { case: "id", value: id } });
const received = (productId: string) => ({ productId, delta: 1n, reason: StockReason.RECEIVED });

/** Waits until a call succeeds. */
const waitForSuccess = (call: () => Promise<unknown>) =>
  expect
    .poll(() =>
      call().then(
        () => "success",
        (error: unknown) => String(error),
      ),
    )
    .toBe("success");

test("while the database is unavailable, calls fail with UNAVAILABLE and RetryInfo before their deadline, and succeed when it recovers", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  await proxy.cut();
  const key = { case: "id", value: productId } as const;
  const calls = [
    shop.catalog.getProduct({ key }, DEADLINE),
    shop.catalog.listProducts({}, DEADLINE),
    shop.json.catalog.getProduct({ key }, DEADLINE),
  ];
  // All are awaited together: a rejection that is not awaited yet would count as unhandled.
  await Promise.all(
    calls.map(async (call) => {
      expect(await failureOf(call)).toMatchObject({ code: "Unavailable", reason: "DATABASE_AWAY" });
      const error = await call.catch((reason: unknown) => ConnectError.from(reason));
      const retry = error instanceof ConnectError && error.findDetails(RetryInfoSchema)[0];
      expect(retry ? retry.retryDelay?.seconds : undefined).toBe(1n);
    }),
  );
  await expect.poll(async () => (await fetch(`${shop.url}/readyz`)).status).toBe(503);
  expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
  await proxy.restore();
  await waitForSuccess(() => getProduct(productId));
});

test("when the network discards all data, calls fail, and connections that lost data are not used again", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  proxy.freeze();
  const failure = await failureOf(getProduct(productId));
  expect(["DeadlineExceeded", "Unavailable"]).toContain(failure.code);
  // The connections stay open but have lost data.
  await proxy.cut();
  await proxy.restore();
  await waitForSuccess(() => getProduct(productId));
});

test("when the pool is exhausted, calls fail with UNAVAILABLE without waiting for its recovery, and succeed afterwards", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  await whileLocked(shop.database, productId, async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, async () => {
        const { code, reason } = await failureOf(shop.catalog.adjustStock(received(productId), DEADLINE));
        return `${code} ${reason}`;
      }),
    );
    const busy = outcomes.filter((outcome) => outcome === "Unavailable DATABASE_BUSY");
    expect(busy.length).toBeGreaterThanOrEqual(20);
    // Calls that had a connection waited for the row until their statement timed out.
    expect(new Set(outcomes)).toEqual(
      new Set(["Unavailable DATABASE_BUSY", "DeadlineExceeded STATEMENT_TIMEOUT"]),
    );
  });
  expect(await stockOf(shop, productId)).toBe(100n);
  await Promise.all(Array.from({ length: 10 }, () => getProduct(productId)));
});

test("reads succeed while changes of one product occupy all connections for writes", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  let changes: Promise<unknown> = Promise.resolve();
  await whileLocked(shop.database, productId, async () => {
    changes = Promise.allSettled(
      Array.from({ length: 30 }, () => shop.catalog.adjustStock(received(productId))),
    );
    // Three quarters of the pool's 5 connections, rounded up.
    await expect.poll(() => countLockWaits(shop.database), { interval: 10 }).toBe(4);
    for (let count = 0; count < 10; count += 1) await getProduct(productId);
  });
  await changes;
});
