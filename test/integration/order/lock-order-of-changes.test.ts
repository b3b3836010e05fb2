import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import {
  endLeases,
  openExpiryWorker,
  payOrder,
  placeOrder,
  setExpiry,
} from "../../support/orders/expiry-worker.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeCustomer, makeProduct } from "../../support/shop-fixtures.ts";
import { countLockWaits } from "../../support/stores/database-activity.ts";

let shop: TestShop;
let holder: Client;
beforeAll(async () => {
  shop = await startShop({ WORKERS: "0" });
  holder = new Client({ connectionString: shop.database.url });
  await holder.connect();
});
afterAll(async () => {
  await holder.end();
  await shop.close();
});

/** Statements that take the locks of rows that are free and return them, in the lock order of all transactions. */
const LOCKS = {
  order: "select from orders where id = $1 for no key update skip locked",
  promotion: "select from promotion where id = $1 for no key update skip locked",
  stock: "select from inventory where product_id = $1 for no key update skip locked",
  totals: "select from purchase_total where promotion_id = $1 for no key update skip locked",
  product: "select from product where id = $1 for no key update skip locked",
};
type Lock = keyof typeof LOCKS;
const locks: readonly Lock[] = ["order", "promotion", "stock", "totals", "product"];
/** Number of rows that share the totals of a promotion. */
const SHARDS = 8;

/** Places an order of all units of a product in a promotion with a limit. */
async function prepareOrder() {
  const [productId, customerId] = [await makeProduct(shop, { stock: 2n }), await makeCustomer(shop)];
  const { promotion } = await shop.tracker.createPromotion({ promotion: { name: "Few", purchaseLimit: 5n } });
  const promotionId = promotion?.id ?? "";
  const order = await placeOrder(shop, productId, { quantity: 2n, customerId, promotionId });
  await shop.database.query(
    `insert into purchase_total
     select $1, $2, 'EUR', shard, 0, 0, 0, 0 from generate_series(0, $3::int - 1) as shard`,
    [promotionId, productId, SHARDS],
  );
  const keys = {
    order: order.id,
    promotion: promotionId,
    stock: productId,
    totals: promotionId,
    product: productId,
  };
  return { order, keys };
}

/** Returns the locks that are taken. */
async function takenLocks(keys: Readonly<Record<Lock, string>>): Promise<Lock[]> {
  const free = await Promise.all(locks.map((lock) => shop.database.query(LOCKS[lock], [keys[lock]])));
  return locks.filter((lock, index) => free[index]?.length !== (lock === "totals" ? SHARDS : 1));
}

const pay = (order: Order) => payOrder(shop, order);
const ship = ({ id }: Order) => shop.orders.shipOrder({ requestId: randomUUID(), id });
const items = [{ itemId: "1", quantity: 2n }];
const cancelItems = ({ id }: Order) => shop.orders.cancelOrderItems({ requestId: randomUUID(), id, items });
const returnItems = ({ id }: Order) =>
  shop.orders.returnOrderItems({ requestId: randomUUID(), id, items, restock: true });

type Change = (order: Order) => Promise<unknown>;
const changes: [name: string, before: Change[], change: Change, expected: Lock[]][] = [
  ["MarkOrderPaid", [], pay, ["order", "promotion", "totals"]],
  ["ShipOrder", [pay], ship, ["order", "stock"]],
  ["CancelOrderItems of an unpaid order", [], cancelItems, ["order", "promotion", "stock", "product"]],
  ["CancelOrderItems of a paid order", [pay], cancelItems, ["order", "stock", "totals", "product"]],
  ["ReturnOrderItems", [pay, ship], returnItems, ["order", "stock", "totals", "product"]],
];

test.each(changes)(
  "%s takes its locks in the lock order of all transactions",
  async (_name, before, change, expected) => {
    for (const [index, held] of expected.entries()) {
      const { order, keys } = await prepareOrder();
      for (const earlier of before) await earlier(order);
      await holder.query("begin");
      await holder.query(LOCKS[held], [keys[held]]);
      const call = change(order);
      await expect.poll(() => countLockWaits(shop.database)).toBe(1);
      const taken = await takenLocks(keys);
      await holder.query("rollback");
      await call;
      expect(taken).toEqual(expected.slice(0, index + 1));
    }
  },
);

test("the expiry of an order takes its locks in the lock order of all transactions", async () => {
  const expected: Lock[] = ["order", "promotion", "stock", "product"];
  // The first transaction skips locked orders.
  for (const held of expected.slice(1)) {
    const { order, keys } = await prepareOrder();
    await setExpiry(shop.database, "-1 second", order.id);
    const worker = await openExpiryWorker(shop.database.url);
    await holder.query("begin");
    await holder.query(LOCKS[held], [keys[held]]);
    let isHeld = true;
    // A round waits for a lock for a short time only, and is repeated.
    const rounds = (async () => {
      for (; isHeld; await endLeases(shop.database)) await worker.run();
    })();
    const takenWhileWaiting = async () => {
      const waitsBefore = await countLockWaits(shop.database);
      const taken = await takenLocks(keys);
      return waitsBefore === 1 && (await countLockWaits(shop.database)) === 1 ? taken : [];
    };
    const observed: Lock[][] = [];
    await expect
      .poll(async () => {
        const taken = await takenWhileWaiting();
        if (taken.length > 0) observed.push(taken);
        return observed.length;
      })
      .toBe(1);
    isHeld = false;
    await holder.query("rollback");
    await rounds;
    expect(observed).toEqual([expected.slice(0, expected.indexOf(held) + 1)]);
  }
});
