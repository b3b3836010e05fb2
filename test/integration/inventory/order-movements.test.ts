import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { entities } from "../../../src/entities.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { violatesConstraint } from "../../../src/infra/postgres/postgres-errors.ts";
import {
  createInventory,
  MAX_STOCK,
  type OrderLine,
  type OrderMovement,
  type StockTransition,
} from "../../../src/inventory/inventory.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { silentLog } from "../../support/log.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";

const UNIQUE = "stock_movement_order_event_unique";
const inventory = createInventory({ clock: systemClock });

let shop: TestShop;
let db: Database;
let productId: string;
let orderId: string;
beforeAll(async () => {
  shop = await startShop();
  const limits = { poolMax: 4, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  db = await openPostgres({ url: shop.database.url, entities, ...limits, log: silentLog });
});
beforeEach(async () => {
  productId = await makeProduct(shop, { stock: 10n });
  const items = [{ productId, quantity: 5n }];
  orderId = (await shop.orders.createOrder({ requestId: randomUUID(), order: { items } })).order?.id ?? "";
});
afterAll(async () => {
  await db.close();
  await shop.close();
});

const lineOf = (quantity: bigint, sequence: number): OrderLine => ({
  orderId,
  productId,
  quantity,
  sequence,
});

/** Moves units of the order, and returns the change of the stock. */
async function move(reason: OrderMovement, quantity: bigint, sequence: number): Promise<StockTransition[]> {
  return db.transact(internalCall(), async (tx) => {
    const levels = await inventory.lock(tx, [productId]);
    return inventory.moveForOrders(tx, reason, [lineOf(quantity, sequence)], levels, new Date());
  });
}

async function stock(): Promise<object> {
  const [row] = await shop.database.query<{ on_hand: string; reserved: string; version: string }>(
    "select on_hand::int, reserved::int, version::int from inventory where product_id = $1",
    [productId],
  );
  return row ?? {};
}

const uniqueViolation = (promise: Promise<unknown>) =>
  promise.then(
    () => false,
    (error: unknown) => violatesConstraint(error, UNIQUE),
  );

test("each reason changes its accounts, and an order moves parts of its units by several events", async () => {
  expect(await stock()).toEqual({ on_hand: 10, reserved: 5, version: 2 });
  const moved = [
    await move("SHIP", 2n, 2),
    await move("CANCEL", 1n, 3),
    await move("SHIP", 1n, 4),
    await move("EXPIRE", 1n, 5),
    await move("ORDER_RETURN", 1n, 6),
    await move("ORDER_RETURN", 2n, 7),
  ].map(([transition]) => transition?.after);
  expect(moved).toEqual([
    { onHand: 8n, reserved: 3n, version: 3n },
    { onHand: 8n, reserved: 2n, version: 4n },
    { onHand: 7n, reserved: 1n, version: 5n },
    { onHand: 7n, reserved: 0n, version: 6n },
    { onHand: 8n, reserved: 0n, version: 7n },
    { onHand: 10n, reserved: 0n, version: 8n },
  ]);
  expect(await stock()).toEqual({ on_hand: 10, reserved: 0, version: 8 });
  const { movements } = await shop.catalog.listStockMovements({ orderId });
  expect(
    movements.map(({ reason, onHandDelta, reservedDelta }) => [reason, onHandDelta, reservedDelta]),
  ).toEqual([
    [StockReason.ORDER_RETURN, 2n, 0n],
    [StockReason.ORDER_RETURN, 1n, 0n],
    [StockReason.EXPIRE, 0n, -1n],
    [StockReason.SHIP, -1n, -1n],
    [StockReason.CANCEL, 0n, -1n],
    [StockReason.SHIP, -2n, -2n],
    [StockReason.ORDER, 0n, 5n],
  ]);
  const sequences = await shop.database.query<{ order_sequence: number }>(
    "select order_sequence from stock_movement where order_id = $1 order by id",
    [orderId],
  );
  expect(sequences.map((row) => row.order_sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  const shipped = await shop.catalog.listStockMovements({ productId, reason: StockReason.SHIP });
  expect(shipped.movements.map(({ onHandDelta }) => onHandDelta)).toEqual([-1n, -2n]);
});

test("an event of an order moves the units of a product once for each reason", async () => {
  await move("SHIP", 1n, 2);
  expect(await uniqueViolation(move("SHIP", 1n, 2))).toBe(true);
  expect(await uniqueViolation(move("ORDER", 1n, 1))).toBe(true);
  expect(await stock()).toEqual({ on_hand: 9, reserved: 4, version: 3 });
});

test("a movement without a sequence, as an earlier version wrote it, is unique too", async () => {
  const insert = () =>
    shop.database.query(
      `insert into stock_movement (product_id, reserved_delta, reason, order_id, effective_at, created_at)
       values ($1, -5, 'CANCEL', $2, now(), now())`,
      [productId, orderId],
    );
  await insert();
  await expect(insert()).rejects.toThrow(UNIQUE);
});

test("orders that share a transaction move the units of a product in one change of its stock", async () => {
  const items = [{ productId, quantity: 3n }];
  const { order } = await shop.orders.createOrder({ requestId: randomUUID(), order: { items } });
  const lines = [lineOf(5n, 2), { ...lineOf(3n, 2), orderId: order?.id ?? "" }];
  const transitions = await db.transact(internalCall(), async (tx) => {
    const levels = await inventory.lock(tx, [productId]);
    return inventory.moveForOrders(tx, "EXPIRE", lines, levels, new Date());
  });
  expect(transitions).toEqual([
    {
      productId,
      before: { onHand: 10n, reserved: 8n, version: 3n },
      after: { onHand: 10n, reserved: 0n, version: 4n },
    },
  ]);
  expect(await stock()).toEqual({ on_hand: 10, reserved: 0, version: 4 });
});

test("units that an order has not reserved cannot be shipped, and nothing is written", async () => {
  await expect(move("SHIP", 6n, 2)).rejects.toThrow("inventory_reserved_in_range");
  expect(await stock()).toEqual({ on_hand: 10, reserved: 5, version: 2 });
});

test("a return beyond the maximum stock is rejected, and nothing is written", async () => {
  await move("SHIP", 5n, 2);
  await shop.catalog.adjustStock({ productId, delta: MAX_STOCK - 7n, reason: StockReason.RECEIVED });
  await expect(move("ORDER_RETURN", 3n, 3)).rejects.toMatchObject({
    code: "failed_precondition",
    details: { reason: "STOCK_TOO_LARGE" },
  });
  const [transition] = await move("ORDER_RETURN", 2n, 3);
  expect(transition?.after.onHand).toBe(MAX_STOCK);
});

test("stock that has changed since it was read is not moved", async () => {
  const attempt = db.transact(internalCall(), async (tx) => {
    const levels = await inventory.read(tx, [productId]);
    await move("SHIP", 1n, 2);
    const moved = await inventory.moveForOrdersIfCurrent(tx, "SHIP", [lineOf(1n, 3)], levels, new Date());
    if (moved === undefined) throw new Error("outdated");
  });
  await expect(attempt).rejects.toThrow("outdated");
  expect(await stock()).toEqual({ on_hand: 9, reserved: 4, version: 3 });
  const current = await db.transact(internalCall(), async (tx) => {
    const levels = await inventory.read(tx, [productId]);
    return inventory.moveForOrdersIfCurrent(tx, "SHIP", [lineOf(1n, 3)], levels, new Date());
  });
  expect(current).toMatchObject([{ productId, after: { onHand: 8n, reserved: 3n } }]);
  expect(await stock()).toEqual({ on_hand: 8, reserved: 3, version: 4 });
});
