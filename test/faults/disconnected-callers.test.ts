import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import { connect } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StockReason } from "../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { CreateOrderRequestSchema } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { startShop, type TestShop } from "../support/shop.ts";
import { makeProduct, stockOf } from "../support/shop-fixtures.ts";
import {
  countBusyConnections,
  countLockWaits,
  countPoolConnections,
  whileLocked,
} from "../support/stores/database-activity.ts";
import { findViolations } from "../support/stores/invariants.ts";

const POOL_MAX = 20;
const CREATE_ORDER = "/cartwright.order.v1.OrderService/CreateOrder";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

test("the service and its pool recover completely from callers whose connections are reset during calls", async () => {
  const productId = await makeProduct(shop, { stock: 100_000n });
  for (let round = 0; round < 10; round += 1) {
    const sessions = Array.from({ length: 5 }, () => startOrders(productId, 50));
    // Each round resets the connections at another stage of the calls.
    await Promise.all(sessions.map(({ waitForResponses }) => waitForResponses(3 * round)));
    for (const { session } of sessions) {
      session.socket.resetAndDestroy?.();
      session.destroy();
    }
  }
  await resetHalfRequest();

  await expect.poll(() => countBusyConnections(shop.database)).toBe(0);
  expect(await countPoolConnections(shop.database)).toBeLessThanOrEqual(POOL_MAX);
  const orders = (await shop.database.query("select from orders")).length;
  expect(await stockOf(shop, productId)).toBe(100_000n - BigInt(orders));
  expect(await findViolations(shop.database.url)).toEqual([]);
  await expectCompletePool(productId);
});

/** Checks that all connections for writes, three quarters of the pool, can be in use concurrently. */
async function expectCompletePool(productId: string): Promise<void> {
  let calls: Promise<unknown>[] = [];
  await whileLocked(shop.database, productId, async () => {
    calls = Array.from({ length: 40 }, () =>
      shop.catalog.adjustStock({ productId, delta: 1n, reason: StockReason.RECEIVED }),
    );
    await expect.poll(() => countLockWaits(shop.database)).toBe(15);
  });
  await Promise.all(calls);
}

/** Resets an HTTP/1.1 connection in the middle of a request body. */
async function resetHalfRequest(): Promise<void> {
  const socket = connect(Number(new URL(shop.url).port), "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  const head = `POST ${CREATE_ORDER} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`;
  await new Promise((resolve) => socket.write(head, resolve));
  // By the time of this response the service has read the request that was sent before it.
  expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
  socket.resetAndDestroy();
}

interface OpenCalls {
  session: http2.ClientHttp2Session & { socket: { resetAndDestroy?(): void } };
  /** Resolves when so many calls have received a response. */
  waitForResponses(count: number): Promise<void>;
}

/** Starts calls on a connection of its own without awaiting them. */
function startOrders(productId: string, count: number): OpenCalls {
  const session = http2.connect(shop.url);
  session.on("error", () => {});
  let responses = 0;
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
      ":path": CREATE_ORDER,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("response", () => {
      responses += 1;
    });
    stream.on("error", () => {});
    stream.end(frame);
  }
  return {
    session,
    waitForResponses: (expected) =>
      expect.poll(() => responses, { interval: 1 }).toBeGreaterThanOrEqual(expected),
  };
}
