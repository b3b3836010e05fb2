import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import { withRetries } from "../../../src/kernel/async/with-retries.ts";
import { placePaidOrder, stockOfItems, unitsOf } from "../../support/orders/order-fixtures.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { type CommitProxy, proxiedUrl, startCommitProxy } from "../../support/stores/commit-proxy.ts";
import { findViolations } from "../../support/stores/invariants.ts";

let proxy: CommitProxy;
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({}, undefined, async (url) => {
    proxy = await startCommitProxy(Number(new URL(url).port));
    return proxiedUrl(url, proxy);
  });
  await shop.database.query("create sequence kill_count");
  // A sequence keeps its value when the transaction ends, so that the retry is not killed.
  await shop.database.query(`
    create function kill_once() returns trigger language plpgsql as $$
    begin
      if nextval('kill_count') = 1 then
        perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(60);
      end if;
      return null;
    end $$`);
});
afterEach(async () => expect(await findViolations(shop.database.url)).toEqual([]));
afterAll(async () => {
  await shop.close();
  await proxy.close();
});

const items = [{ itemId: "1", quantity: 2n }];

interface Change {
  /** Prepares the order before the change. */
  prepare(id: string): Promise<unknown>;
  change(id: string, requestId: string): Promise<unknown>;
  /** The tables that the change writes, in the order of its steps. */
  tables: readonly string[];
  /** The units of the item and the stock afterwards. */
  units: readonly number[];
  stock: { onHand: number; reserved: number };
}

const ship = (id: string, requestId: string = randomUUID()) =>
  shop.orders.shipOrder({ requestId, id, items });

const changes: Readonly<Record<string, Change>> = {
  ShipOrder: {
    prepare: async () => {},
    change: ship,
    tables: [
      "stock_movement",
      "inventory",
      "fulfillment",
      "order_item",
      "order_event",
      "orders",
      "idempotency",
    ],
    units: [0, 2, 0],
    stock: { onHand: 98, reserved: 1 },
  },
  DeliverOrder: {
    prepare: (id) => ship(id),
    change: (id, requestId) => shop.orders.deliverOrder({ requestId, id }),
    tables: ["fulfillment", "order_event", "orders", "idempotency"],
    units: [0, 2, 0],
    stock: { onHand: 98, reserved: 1 },
  },
  CancelOrderItems: {
    prepare: async () => {},
    change: (id, requestId) => shop.orders.cancelOrderItems({ requestId, id, items }),
    tables: ["stock_movement", "inventory", "order_item", "order_event", "orders", "idempotency"],
    units: [2, 0, 0],
    stock: { onHand: 100, reserved: 1 },
  },
  ReturnOrderItems: {
    prepare: (id) => ship(id),
    change: (id, requestId) => shop.orders.returnOrderItems({ requestId, id, items, restock: true }),
    tables: ["stock_movement", "inventory", "order_item", "order_event", "orders", "idempotency"],
    units: [0, 2, 2],
    stock: { onHand: 100, reserved: 1 },
  },
};

/** Places an order of three units, makes a change, repeats it, and returns the order afterwards. */
async function changeOnce({ prepare, change }: Change, onPrepared: () => Promise<unknown>): Promise<Order> {
  const { id } = await placePaidOrder(shop, [3n]);
  await prepare(id);
  await onPrepared();
  const requestId = randomUUID();
  // A caller repeats a call whose connection to the database was lost during its COMMIT.
  const first = await withRetries(() => change(id, requestId), { attempts: 10, firstDelayMs: 10 });
  expect(await change(id, requestId)).toEqual(first);
  const { order } = await shop.orders.getOrder({ id });
  if (order === undefined) throw new Error("the order is missing");
  return order;
}

describe.each(Object.entries(changes))("%s", (_name, change) => {
  test.each(change.tables)(
    "takes effect once if its connection is killed at its change of %s",
    async (table) => {
      await shop.database.query("alter sequence kill_count restart");
      const order = await changeOnce(change, () =>
        shop.database.query(`
        create trigger kill_once after insert or update on ${table} for each statement execute function kill_once()`),
      );
      await shop.database.query(`drop trigger kill_once on ${table}`);
      const [row] = await shop.database.query<{ kills: boolean }>(
        "select is_called as kills from kill_count",
      );
      expect(row).toEqual({ kills: true });
      expect(unitsOf(order)).toEqual([change.units]);
      expect(await stockOfItems(shop, order)).toEqual([change.stock]);
    },
  );

  test.each(["before", "during", "after"] as const)(
    "takes effect once if its connection is lost %s its COMMIT",
    async (moment) => {
      const interruptions = proxy.interruptions();
      const order = await changeOnce(change, async () =>
        proxy.interrupt({ moment, statement: /\border_event\b/ }),
      );
      expect(proxy.interruptions()).toBe(interruptions + 1);
      expect(unitsOf(order)).toEqual([change.units]);
      expect(await stockOfItems(shop, order)).toEqual([change.stock]);
    },
  );
});
