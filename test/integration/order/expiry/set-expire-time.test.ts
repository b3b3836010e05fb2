import { randomUUID } from "node:crypto";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OrderActor } from "../../../../gen/cartwright/order/v1/order_actor_pb.ts";
import { OrderEventType } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { openExpiryWorker, payOrder, placeOrder, setExpiry } from "../../../support/orders/expiry-worker.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeProduct } from "../../../support/shop-fixtures.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

const DAY_MS = 86_400_000;

let shop: TestShop;
let productId: string;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
  productId = await makeProduct(shop, { stock: 1_000n });
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(() => shop.close());

describe.each(["gRPC", "Connect JSON"] as const)("over %s", (protocol) => {
  const orders = () => (protocol === "gRPC" ? shop : shop.json).orders;

  test("an order expires 30 minutes after it was placed, or at the time that was set, or never", async () => {
    const { id, createTime, expireTime } = await placeOrder(shop, productId);
    expect(Number(expireTime?.seconds) - Number(createTime?.seconds)).toBe(1_800);
    const later = timestampFromMs(Date.now() + 3 * DAY_MS);
    const set = await orders().setOrderExpireTime({ id, expireTime: later, reason: "Bank transfer" });
    expect(set.order).toMatchObject({ etag: "2", expireTime: later });
    const never = await orders().setOrderExpireTime({ id, neverExpires: true, etag: "2" });
    expect(never.order?.etag).toBe("3");
    expect(never.order?.expireTime).toBeUndefined();
    const again = await orders().setOrderExpireTime({ id, expireTime: later, etag: "3" });
    expect(again.order).toMatchObject({ etag: "4", expireTime: later });
    const { events } = await orders().listOrderEvents({ id });
    expect(events.slice(1)).toMatchObject([
      {
        type: OrderEventType.EXPIRE_TIME_SET,
        actor: OrderActor.SYSTEM,
        reason: "Bank transfer",
        expireTime: later,
      },
      { type: OrderEventType.EXPIRE_TIME_SET, reason: "" },
      { type: OrderEventType.EXPIRE_TIME_SET, expireTime: later },
    ]);
    expect(events[2]?.expireTime).toBeUndefined();
    expect((await orders().getOrder({ id })).order).toEqual(again.order);
  });

  test("a repeat changes nothing, whatever its etag, and a stale etag is rejected for another time", async () => {
    const { id } = await placeOrder(shop, productId);
    const expireTime = timestampFromMs(Date.now() + DAY_MS);
    const requests = Array.from({ length: 10 }, () =>
      orders().setOrderExpireTime({ id, expireTime, etag: "1" }),
    );
    expect((await Promise.all(requests)).map(({ order }) => order?.etag)).toEqual(Array(10).fill("2"));
    const requestId = randomUUID();
    const request = { id, requestId, expireTime: timestampFromMs(Date.now() + 2 * DAY_MS) };
    const first = await orders().setOrderExpireTime(request);
    await orders().setOrderExpireTime({ id, neverExpires: true });
    expect(await orders().setOrderExpireTime(request)).toEqual(first);
    const stale = orders().setOrderExpireTime({ id, expireTime, etag: "2" });
    expect(await failureOf(stale)).toMatchObject({ code: "Aborted", reason: "STALE_ETAG" });
    const { events } = await orders().listOrderEvents({ id });
    expect(events).toHaveLength(4);
  });

  test.each([
    ["now", 0, "INVALID_FIELD"],
    ["in the past", -DAY_MS, "INVALID_FIELD"],
    ["more than 366 days away", 366 * DAY_MS + 60_000, "INVALID_FIELD"],
    ["in the year 9999", Date.parse("9999-01-01T00:00:00Z") - Date.now(), "INVALID_REQUEST"],
    ["in the year 2", Date.parse("0002-01-01T00:00:00Z") - Date.now(), "INVALID_REQUEST"],
  ])("a time %s is rejected", async (_name, delayMs, reason) => {
    const { id } = await placeOrder(shop, productId);
    const expireTime = timestampFromMs(Date.now() + delayMs);
    const failure = await failureOf(orders().setOrderExpireTime({ id, expireTime }));
    expect(failure).toMatchObject({ code: "InvalidArgument", reason, fields: ["expire_time"] });
    expect((await orders().getOrder({ id })).order?.etag).toBe("1");
  });

  test("a request with neither a time nor never_expires, and one with both, is rejected and keeps the expiry", async () => {
    const { id, expireTime } = await placeOrder(shop, productId);
    const neither = [{ id }, { id, neverExpires: false }, { id, etag: "1", requestId: randomUUID() }];
    for (const request of neither) {
      expect(await failureOf(orders().setOrderExpireTime(request))).toMatchObject({
        code: "InvalidArgument",
        reason: "FIELD_REQUIRED",
        fields: ["expire_time"],
      });
    }
    const both = { id, expireTime: timestampFromMs(Date.now() + DAY_MS), neverExpires: true };
    expect(await failureOf(orders().setOrderExpireTime(both))).toMatchObject({
      code: "InvalidArgument",
      reason: "INVALID_FIELD",
      fields: ["never_expires"],
    });
    expect((await orders().getOrder({ id })).order).toMatchObject({ etag: "1", expireTime });
  });

  test("an order that is paid, cancelled, expired or missing has no expire time to set", async () => {
    const [paid, cancelled, expired] = [
      await placeOrder(shop, productId),
      await placeOrder(shop, productId),
      await placeOrder(shop, productId),
    ];
    await payOrder(shop, paid);
    await orders().cancelOrder({ id: cancelled.id });
    await setExpiry(shop.database, "-1 second", expired.id);
    await (await openExpiryWorker(shop.database.url)).run();
    for (const { id } of [paid, cancelled, expired]) {
      for (const expireTime of [undefined, timestampFromMs(Date.now() + DAY_MS)]) {
        const set = orders().setOrderExpireTime({
          id,
          ...(expireTime ? { expireTime } : { neverExpires: true }),
        });
        expect(await failureOf(set)).toMatchObject({ code: "FailedPrecondition", reason: "ORDER_STATE" });
      }
      expect((await orders().getOrder({ id })).order?.expireTime).toBeUndefined();
    }
    const unknown = { id: "00000000-0000-7000-8000-000000000000", neverExpires: true };
    const missing = orders().setOrderExpireTime(unknown);
    expect(await failureOf(missing)).toMatchObject({ code: "NotFound" });
  });
});

test("an order whose time has passed can be extended until its expiry begins", async () => {
  const { id } = await placeOrder(shop, productId);
  await setExpiry(shop.database, "-1 second", id);
  const expireTime = timestampFromMs(Date.now() + DAY_MS);
  const { order } = await shop.orders.setOrderExpireTime({ id, expireTime });
  expect(order?.expireTime && timestampDate(order.expireTime)).toEqual(timestampDate(expireTime));
  expect(await (await openExpiryWorker(shop.database.url)).run()).toEqual({ taken: 0, postponed: 0 });
});
