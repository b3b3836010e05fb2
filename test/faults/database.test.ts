import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { failureOf } from "../support/errors.ts";
import { findViolations } from "../support/invariants.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

let link: TcpProxy;
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop(
    { DB_POOL_MAX: "5", DB_POOL_WAIT_MS: "500", DB_STATEMENT_TIMEOUT_MS: "1000" },
    undefined,
    async (url) => {
      link = await startTcpProxy(Number(new URL(url).port));
      const through = new URL(url);
      through.port = String(link.port);
      return through.href;
    },
  );
});
afterAll(async () => {
  await link.mend();
  await shop.close();
  await link.close();
});

const get = (id: string) => shop.catalog.getProduct({ key: { case: "id", value: id } });

/** Transactions of the shop that wait for somebody else's lock. */
async function waitingForLocks(): Promise<number> {
  await shop.database.query("select pg_stat_clear_snapshot()");
  const waiting = await shop.database.query(
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  return waiting.length;
}

/** Calls until one succeeds, and says how long that took, milliseconds. */
async function msUntilBack(call: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (;;) {
    const ok = await call().then(
      () => true,
      () => false,
    );
    if (ok) return performance.now() - start;
    await sleep(50);
  }
}

test("orders go on through killed connections: each is made once, and only UNAVAILABLE is seen", async () => {
  const productId = await makeProduct(shop, { stock: 1_000n });
  let killing = true;
  const killer = (async () => {
    while (killing) {
      await shop.database.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
      );
      await sleep(100);
    }
  })();
  const seen = new Set<string>();
  const buyOnce = async () => {
    const request = { requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } };
    for (;;) {
      try {
        await shop.orders.createOrder(request);
        return;
      } catch (error) {
        const refused = ConnectError.from(error);
        seen.add(Code[refused.code] ?? "");
        expect(refused.findDetails(RetryInfoSchema)).toHaveLength(1);
        await sleep(20);
      }
    }
  };
  await Promise.all(Array.from({ length: 150 }, buyOnce));
  killing = false;
  await killer;
  expect([...seen].filter((code) => code !== "Unavailable")).toEqual([]);
  expect(await stockOf(shop, productId)).toBe(850n);
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("while the database is away callers get UNAVAILABLE with RetryInfo in time, and it is back within 5 s", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  await link.cut();
  const start = performance.now();
  const calls = [
    get(productId),
    shop.catalog.listProducts({}),
    shop.json.catalog.getProduct({ key: { case: "id", value: productId } }),
  ];
  // All are listened to at once: a refusal that nobody awaits yet would count as unhandled.
  await Promise.all(
    calls.map(async (call) => {
      expect(await failureOf(call)).toMatchObject({ code: "Unavailable", reason: "DATABASE_AWAY" });
      const error = await call.catch((reason: unknown) => ConnectError.from(reason));
      const retry = error instanceof ConnectError && error.findDetails(RetryInfoSchema)[0];
      expect(retry ? retry.retryDelay?.seconds : undefined).toBe(1n);
    }),
  );
  expect(performance.now() - start).toBeLessThan(3_000);
  await sleep(1_100);
  expect((await fetch(`${shop.url}/readyz`)).status).toBe(503);
  expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
  await link.mend();
  expect(await msUntilBack(() => get(productId))).toBeLessThan(5_000);
});

test("a network that goes silent is noticed, and connections that died with it are not used again", async () => {
  const productId = await makeProduct(shop, { stock: 1n });
  link.freeze();
  const failure = await failureOf(get(productId));
  expect(["DeadlineExceeded", "Unavailable"]).toContain(failure.code);
  // What was sent meanwhile is lost on these connections for ever.
  await link.cut();
  await link.mend();
  expect(await msUntilBack(() => get(productId))).toBeLessThan(5_000);
});

test("an exhausted pool answers UNAVAILABLE within its wait, and is whole afterwards", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  await shop.database.query("begin");
  await shop.database.query("select from product where id = $1 for update", [productId]);
  const start = performance.now();
  const calls = Array.from({ length: 30 }, async () => {
    const call = shop.orders.createOrder({
      requestId: randomUUID(),
      order: { items: [{ productId, quantity: 1n }] },
    });
    return call.then(
      () => "ok",
      () => failureOf(call).then(({ code, reason }) => `${code} ${reason}`),
    );
  });
  const outcomes = await Promise.all(calls);
  const tookMs = performance.now() - start;
  await shop.database.query("rollback");
  expect(outcomes.filter((outcome) => outcome === "Unavailable DATABASE_BUSY").length).toBeGreaterThanOrEqual(
    20,
  );
  // Those that had a connection waited for the row until their statement timed out.
  expect(new Set(outcomes)).toEqual(
    new Set(["Unavailable DATABASE_BUSY", "DeadlineExceeded STATEMENT_TIMEOUT"]),
  );
  expect(tookMs).toBeLessThan(5_000);
  expect(await stockOf(shop, productId)).toBe(100n);
  await Promise.all(Array.from({ length: 10 }, () => get(productId)));
});

test("reads go on while a rush on one product has all the writers waiting", async () => {
  const productId = await makeProduct(shop, { stock: 100n });
  await shop.database.query("begin");
  await shop.database.query("select from product where id = $1 for update", [productId]);
  const order = () => ({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } });
  const rush = Promise.allSettled(Array.from({ length: 30 }, () => shop.orders.createOrder(order())));
  try {
    // Three quarters of the pool's 5, rounded up.
    await expect.poll(waitingForLocks).toBe(4);
    for (let count = 0; count < 10; count += 1) await get(productId);
  } finally {
    await shop.database.query("rollback");
  }
  await rush;
});
