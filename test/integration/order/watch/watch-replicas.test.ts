import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { OrderState } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import {
  OrderService,
  WatchOrderRequestSchema,
  WatchOrderResponseSchema,
} from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { type OrderChanger, openOrderChanger } from "../../../support/orders/watch/order-changer.ts";
import { upTo, watchOrder } from "../../../support/orders/watch/order-watcher.ts";
import { grpcJs, transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { clientsOf, startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { startTcpProxy, type TcpProxy } from "../../../support/stores/tcp-proxy.ts";

let shop: TestShop;
/** Another replica, with a proxy before its database. */
let replica: TestShop;
let proxy: TcpProxy;
let changer: OrderChanger;
beforeAll(async () => {
  shop = await startShop();
  changer = await openOrderChanger(shop.database.url);
  const { url } = shop.database;
  proxy = await startTcpProxy(Number(new URL(url).port));
  const proxied = new URL(url);
  proxied.host = `127.0.0.1:${proxy.port}`;
  replica = await startReplica(proxied.href);
});
afterAll(async () => {
  await replica.close();
  await changer.close();
  await shop.close();
  await proxy.close();
});

const startReplica = (databaseUrl: string) => startShop({ DATABASE_URL: databaseUrl });

async function placeOrder(): Promise<string> {
  const productId = await makeProduct(shop, { stock: 10n });
  const order = { items: [{ productId, quantity: 1n }] };
  const { order: placed } = await shop.orders.createOrder({ requestId: randomUUID(), order });
  return placed?.id ?? "";
}

test("changes of one replica reach the watchers of the other", async () => {
  const id = await placeOrder();
  const watcher = watchOrder(replica, id);
  await expect.poll(() => watcher.sequences()).toEqual([1]);
  await shop.orders.setOrderExpireTime({ id, neverExpires: true });
  await expect.poll(() => watcher.sequences()).toEqual([1, 2]);
  await shop.orders.cancelOrder({ id });
  await expect.poll(() => watcher.outcome()).toBe("OK");
  expect(watcher.sequences()).toEqual([1, 2, 3]);
});

test("a watch that a stopping replica ends with UNAVAILABLE is resumed at the other without gaps", async () => {
  const id = await placeOrder();
  const stopping = await startReplica(shop.database.url);
  const before = watchOrder(stopping, id);
  await changer.change(id);
  await expect.poll(() => before.sequences()).toEqual([1, 2]);
  await stopping.close();
  expect(before.outcome()).toBe("Unavailable");
  await changer.change(id);
  const after = watchOrder(shop, id, before.sequences().at(-1));
  await expect.poll(() => after.sequences()).toEqual([3]);
  await shop.orders.cancelOrder({ id });
  await expect.poll(() => after.outcome()).toBe("OK");
  expect([...before.sequences(), ...after.sequences()]).toEqual(upTo(4));
});

test("a watch continues after its replica was without a database", async () => {
  const id = await placeOrder();
  const watcher = watchOrder(replica, id);
  await expect.poll(() => watcher.sequences()).toEqual([1]);
  await proxy.cut();
  await changer.change(id);
  await changer.change(id);
  await proxy.restore();
  await expect.poll(() => watcher.sequences()).toEqual([1, 2, 3]);
  await shop.database.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'cartwright' and state = 'idle'",
  );
  // A change may meet a connection that was terminated.
  await expect
    .poll(() =>
      changer.change(id).then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
  await expect.poll(() => watcher.sequences().length).toBeGreaterThanOrEqual(4);
  await shop.orders.cancelOrder({ id });
  await expect.poll(() => watcher.outcome()).toBe("OK");
  expect(watcher.sequences()).toEqual(upTo(watcher.sequences().length));
});

describe.each(transportNames.filter((name) => name !== "Connect GET"))("over %s", (name) => {
  test(`a watch over ${name} gets each change and ends with the order`, async () => {
    const id = await placeOrder();
    const watcher = watchOrder(clientsOf(transports(shop.url)[name]), id);
    await expect.poll(() => watcher.sequences()).toEqual([1]);
    await changer.change(id);
    await expect.poll(() => watcher.sequences()).toEqual([1, 2]);
    await shop.orders.cancelOrder({ id });
    await expect.poll(() => watcher.outcome()).toBe("OK");
    expect(watcher.sequences()).toEqual([1, 2, 3]);
  });
});

test("a watch by @grpc/grpc-js gets each change and ends with the order", async () => {
  const id = await placeOrder();
  const stream = grpcJs(Number(new URL(shop.url).port)).makeServerStreamRequest(
    `/${OrderService.typeName}/WatchOrder`,
    (message: { id: string }) =>
      Buffer.from(toBinary(WatchOrderRequestSchema, create(WatchOrderRequestSchema, message))),
    (bytes: Buffer) => fromBinary(WatchOrderResponseSchema, bytes),
    { id },
  );
  onTestFinished(() => stream.cancel());
  const states: (OrderState | undefined)[] = [];
  let status: number | undefined;
  stream.on("data", ({ order }) => states.push(order?.state));
  stream.on("error", () => {});
  stream.on("status", ({ code }) => {
    status = code;
  });
  await expect.poll(() => states).toEqual([OrderState.PENDING]);
  await shop.orders.cancelOrder({ id });
  await expect.poll(() => status).toBe(0);
  expect(states).toEqual([OrderState.PENDING, OrderState.CANCELLED]);
});

test("an order token gives access to the watch of its order only", async () => {
  const guests = await startShop({ ACCESS: "on", GUEST_CHECKOUT: "on" });
  onTestFinished(() => guests.close());
  const missing = randomUUID();
  const client = createClient(OrderService, transports(guests.url)["gRPC over HTTP/2"]);
  const outcome = async (headers: Record<string, string>) => {
    try {
      for await (const message of client.watchOrder({ id: missing }, { headers })) return message;
    } catch (error) {
      return String(error);
    }
  };
  expect(await outcome({})).toContain("unauthenticated");
  expect(await outcome({ "x-order-token": "0.1.wrong" })).toContain("not_found");
});
