import { randomUUID } from "node:crypto";
import http2 from "node:http2";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CreateOrderRequestSchema } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { findViolations } from "../support/invariants.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

test("callers that vanish in the middle of their calls leave the service up and its pool whole", async () => {
  const productId = await makeProduct(shop, { stock: 100_000n });
  for (let round = 0; round < 10; round += 1) {
    const sessions = Array.from({ length: 5 }, () => startOrders(productId, 50));
    await sleep(20 + round * 10);
    // As a load generator does that is stopped: no goodbye, a reset.
    for (const session of sessions) session.socket.resetAndDestroy?.();
    for (const session of sessions) session.destroy();
  }
  const half = connect(Number(new URL(shop.url).port), "127.0.0.1");
  half.on("error", () => {});
  half.write(
    "POST /cartwright.order.v1.OrderService/CreateOrder HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
  );
  await sleep(50);
  half.resetAndDestroy();

  const activity = () =>
    shop.database.query<{ state: string; count: number }>(
      "select state, count(*)::int from pg_stat_activity where datname = current_database() and application_name = 'cartwright' group by state",
    );
  await expect.poll(async () => (await activity()).filter(({ state }) => state !== "idle")).toEqual([]);
  expect((await activity()).reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(20);
  const orders = (await shop.database.query("select from orders")).length;
  expect(await stockOf(shop, productId)).toBe(100_000n - BigInt(orders));
  expect(await findViolations(shop.database.url)).toEqual([]);
  // Each place for a transaction can be had at once: three quarters of the pool's 20 wait for the same row.
  await shop.database.query("begin");
  await shop.database.query("select from product where id = $1 for update", [productId]);
  const crowd = Array.from({ length: 40 }, () =>
    shop.orders.createOrder({ requestId: randomUUID(), order: { items: [{ productId, quantity: 1n }] } }),
  );
  await expect
    .poll(async () => {
      await shop.database.query("select pg_stat_clear_snapshot()");
      const waiting = await shop.database.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return waiting.length;
    })
    .toBe(15);
  await shop.database.query("rollback");
  await Promise.all(crowd);
});

/** Begins calls on a connection of its own and does not wait for them. */
function startOrders(
  productId: string,
  count: number,
): http2.ClientHttp2Session & { socket: { resetAndDestroy?(): void } } {
  const session = http2.connect(shop.url);
  session.on("error", () => {});
  for (let call = 0; call < count; call += 1) {
    const order = { items: [{ productId, quantity: 1n }] };
    const message = toBinary(
      CreateOrderRequestSchema,
      create(CreateOrderRequestSchema, { requestId: randomUUID(), order }),
    );
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    const stream = session.request({
      ":method": "POST",
      ":path": "/cartwright.order.v1.OrderService/CreateOrder",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.end(frame);
  }
  return session;
}
