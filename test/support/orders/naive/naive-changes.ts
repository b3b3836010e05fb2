import { randomUUID } from "node:crypto";
import type { Fixture } from "../model/fixture.ts";
import {
  allowedTransitions,
  amountDue,
  describeOrder,
  fulfillmentOf,
  type ModelLine,
  openUnits,
} from "../model/model-order.ts";
import type { ItemUnits, KnownIds, OrderWrite, Outcome } from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import type { Flaw } from "./flaws.ts";
import { countLast, recordSales, releaseHold, reverseSales } from "./naive-promotions.ts";
import type { NaiveChange, NaiveStatements } from "./naive-statements.ts";
import { changeStock, lockProducts } from "./naive-stock.ts";
import { Rejection } from "./rejection.ts";

/** The transaction of a change, and the flaw of the implementation. */
export interface NaiveContext {
  statements: NaiveStatements;
  fixture: Fixture;
  flaw: Flaw | undefined;
}

/** A change of a locked order. */
interface OrderChange {
  event: string;
  payment?: string;
  closing?: string;
  /** What becomes of units. */
  moved?: {
    units: readonly ItemUnits[];
    column: "cancelled_quantity" | "fulfilled_quantity" | "returned_quantity";
    reason: NaiveChange["reason"];
    onHand: number;
    reserved: number;
  };
}

const TRANSITIONS: Readonly<Record<OrderWrite["method"], string>> = {
  CancelOrder: "CANCEL",
  MarkOrderPaid: "MARK_PAID",
  ShipOrder: "SHIP",
  DeliverOrder: "DELIVER",
  CancelOrderItems: "CANCEL_ITEMS",
  ReturnOrderItems: "RETURN_ITEMS",
  SetOrderExpireTime: "SET_EXPIRE_TIME",
};

/** The outcome of a change, and the id of the shipment that it created. */
export interface NaiveResult {
  outcome: Outcome;
  createdId?: string;
}

/** Makes a change of an order. */
export async function changeOrder(
  context: NaiveContext,
  operation: OrderWrite,
  ids: KnownIds,
): Promise<NaiveResult> {
  const { flaw } = context;
  const order = await lockOrder(context, ids.orders.get(operation.order) ?? "");
  const isUnchecked =
    flaw === "a cancellation does not check the state" && operation.method === "CancelOrder";
  if (!isUnchecked && (await isRepeated(context, order, operation, ids)))
    return { outcome: describeOrder(order) };
  const isStale = operation.etag !== undefined && operation.etag !== order.version;
  if (isStale && flaw !== "a change does not check the etag") throw new Rejection("Aborted", "STALE_ETAG");
  const isAllowed = allowedTransitions(order).includes(TRANSITIONS[operation.method]);
  if (!isAllowed && !isUnchecked) throw new Rejection("FailedPrecondition", "ORDER_STATE");
  const createdId = randomUUID();
  await applyChange(context, order, await prepareChange(context, order, operation, ids, createdId));
  const outcome = describeOrder(await context.statements.readOrder(order.id));
  return operation.method === "ShipOrder" ? { outcome, createdId } : { outcome };
}

async function lockOrder({ statements }: NaiveContext, id: string): Promise<StoredOrder> {
  await statements.query("select from orders where id = $1 for update", [id]);
  return statements.readOrder(id);
}

async function isRepeated(
  { statements, fixture }: NaiveContext,
  order: StoredOrder,
  operation: OrderWrite,
  ids: KnownIds,
): Promise<boolean> {
  if (operation.method === "CancelOrder") return order.closing === "CANCELLED";
  if (operation.method === "DeliverOrder") {
    const [named] = await statements.query<{ all: boolean | null }>(
      `select bool_and(delivered_at is not null) as all from fulfillment
       where order_id = $1 and ($2::uuid is null or id = $2)`,
      [order.id, shipmentId(operation.shipment, ids)],
    );
    return named?.all === true;
  }
  if (operation.method !== "SetOrderExpireTime") return false;
  if (!allowedTransitions(order).includes("SET_EXPIRE_TIME")) return false;
  const [found] = await statements.query<{ same: boolean }>(
    "select expires_at is not distinct from $2::timestamptz as same from orders where id = $1",
    [order.id, expireTime(fixture, operation.time)],
  );
  return found?.same === true;
}

/** Verifies the units and the amount of a change, and writes what only this change has. */
async function prepareChange(
  { statements, fixture, flaw }: NaiveContext,
  order: StoredOrder,
  operation: OrderWrite,
  ids: KnownIds,
  createdId: string,
): Promise<OrderChange> {
  switch (operation.method) {
    case "CancelOrder": {
      const units = flaw === "a cancellation does not check the state" ? allUnits(order) : unitsOpen(order);
      return { event: "CANCELLED", closing: "CANCELLED", moved: cancelled(units, "CANCEL") };
    }
    case "MarkOrderPaid":
      if (operation.amount !== amountDue(order)) throw new Rejection("FailedPrecondition", "AMOUNT_NOT_DUE");
      await statements.query("update orders set paid_minor = $2 where id = $1", [order.id, operation.amount]);
      if (order.hasPromotion) await recordSales(statements, fixture, order);
      return { event: "PAID", payment: "PAID" };
    case "ShipOrder": {
      const units = operation.items.length === 0 ? unitsOpen(order) : operation.items;
      assertLeft(order, units, openUnits);
      await insertShipment(statements, createdId, order.id, units);
      const onHand = flaw === "a shipment leaves the units on hand" ? 0 : -1;
      return {
        event: "SHIPPED",
        moved: { units, column: "fulfilled_quantity", reason: "SHIP", onHand, reserved: -1 },
      };
    }
    case "DeliverOrder":
      await statements.query(
        `update fulfillment set delivered_at = now()
         where order_id = $1 and delivered_at is null and ($2::uuid is null or id = $2)`,
        [order.id, shipmentId(operation.shipment, ids)],
      );
      return { event: "DELIVERED" };
    case "CancelOrderItems": {
      assertLeft(order, operation.items, openUnits);
      return { event: "ITEMS_CANCELLED", moved: cancelled(operation.items, "CANCEL") };
    }
    case "ReturnOrderItems": {
      assertLeft(order, operation.items, ({ fulfilled, returned }) => fulfilled - returned);
      const restocked = flaw === "a return restocks its units twice" ? 2 : 1;
      const onHand = operation.restock ? restocked : 0;
      return {
        event: "ITEMS_RETURNED",
        moved: {
          units: operation.items,
          column: "returned_quantity",
          reason: "ORDER_RETURN",
          onHand,
          reserved: 0,
        },
      };
    }
    case "SetOrderExpireTime":
      await statements.query("update orders set expires_at = $2 where id = $1", [
        order.id,
        expireTime(fixture, operation.time),
      ]);
      return { event: "EXPIRE_TIME_SET" };
  }
}

/** Begins the expiry of orders that are due. */
export async function startExpiries(context: NaiveContext): Promise<void> {
  const { statements, flaw } = context;
  const isUnpaid =
    flaw === "an expiry does not check the payment" ? "true" : "payment_state in ('UNPAID', 'FAILED')";
  const due = await statements.query<{ id: string }>(
    `select id from orders where expires_at <= now() and closing = 'NONE' and fulfillment_state = 'UNFULFILLED'
       and ${isUnpaid} order by id for update`,
  );
  for (const { id } of due) {
    const order = await statements.readOrder(id);
    await applyChange(context, order, { event: "EXPIRY_STARTED", closing: "EXPIRING" });
  }
}

/** Completes the expiries that have begun. */
export async function completeExpiries(context: NaiveContext): Promise<void> {
  const { statements } = context;
  const begun = await statements.query<{ id: string }>(
    "select id from orders where closing = 'EXPIRING' order by id for update",
  );
  for (const { id } of begun) {
    const order = await statements.readOrder(id);
    const moved = cancelled(unitsOpen(order), "EXPIRE");
    await applyChange(context, order, { event: "EXPIRED", closing: "EXPIRED", moved });
  }
}

async function applyChange(
  context: NaiveContext,
  order: StoredOrder,
  { event, payment = order.payment, closing = order.closing, moved }: OrderChange,
): Promise<void> {
  const { statements, flaw } = context;
  const { id, version } = order;
  if (moved !== undefined) {
    await moveUnits(context, order, moved);
    const isClosed = closing === "CANCELLED" || closing === "EXPIRED";
    if (order.hasPromotion) await removePurchases(context, order, moved, isClosed);
  }
  await statements.query("update orders set payment_state = $2, closing = $3 where id = $1", [
    id,
    payment,
    closing,
  ]);
  const changed = await statements.readOrder(id);
  const isEmpty = changed.lines.every(({ quantity, cancelled }) => quantity === cancelled);
  await statements.query(
    `insert into order_event (
       order_id, sequence, type, actor, reason, payment_state, fulfillment_state, closing, details, created_at
     ) values ($1, $2, $3, 'SYSTEM', '', $4, $5, $6, '{}', now())`,
    [
      id,
      version + 1,
      event,
      payment,
      fulfillmentOf(changed),
      isEmpty && closing === "NONE" ? "CANCELLED" : closing,
    ],
  );
  const isVersioned = flaw !== "an event is recorded without a new version" || event === "PAID";
  await statements.query(
    "update orders set fulfillment_state = $2, closing = $3, version = $4, updated_at = now() where id = $1",
    [
      id,
      fulfillmentOf(changed),
      isEmpty && closing === "NONE" ? "CANCELLED" : closing,
      isVersioned ? version + 1 : version,
    ],
  );
}

async function moveUnits(
  context: NaiveContext,
  order: StoredOrder,
  { units, column, reason, onHand, reserved }: NonNullable<OrderChange["moved"]>,
): Promise<void> {
  const { statements } = context;
  const products = units.map(({ item }) => order.lines[item]?.product ?? 0);
  await lockProducts(context, products);
  for (const [index, { item, quantity }] of units.entries()) {
    await statements.query(
      `update order_item set ${column} = least(${column} + $3, quantity) where order_id = $1 and position = $2`,
      [order.id, item + 1, quantity],
    );
    if (onHand === 0 && reserved === 0 && reason !== "ORDER_RETURN") continue;
    await changeStock(context, products[index] ?? 0, {
      onHandDelta: onHand * quantity,
      reservedDelta: reserved * quantity,
      reason,
      order: { id: order.id, sequence: order.version + 1 },
      sold: reason === "SHIP" ? 0 : -quantity,
    });
  }
}

async function removePurchases(
  { statements, fixture, flaw }: NaiveContext,
  order: StoredOrder,
  { units, reason }: NonNullable<OrderChange["moved"]>,
  isClosed: boolean,
): Promise<void> {
  if (reason === "SHIP") return;
  if (order.payment === "PAID") {
    const countsAll = flaw === "reversals of some units count as purchases";
    return reverseSales(statements, fixture, order, units, countsAll);
  }
  if (isClosed && flaw === "an order that is closed keeps the limits of its promotion") return;
  const released = countLast(order, units);
  if (released > 0) await releaseHold(statements, fixture, order.id, released);
}

function cancelled(units: readonly ItemUnits[], reason: "CANCEL" | "EXPIRE") {
  return { units, column: "cancelled_quantity", reason, onHand: 0, reserved: -1 } as const;
}

async function insertShipment(
  statements: NaiveStatements,
  id: string,
  orderId: string,
  units: readonly ItemUnits[],
): Promise<void> {
  await statements.query(
    `insert into fulfillment (id, order_id, carrier, tracking_number, tracking_uri, created_at)
     values ($1, $2, '', '', '', now())`,
    [id, orderId],
  );
  for (const { item, quantity } of units) {
    await statements.query(
      "insert into fulfillment_item (fulfillment_id, position, quantity) values ($1, $2, $3)",
      [id, item + 1, quantity],
    );
  }
}

function assertLeft(
  order: StoredOrder,
  units: readonly ItemUnits[],
  left: (line: ModelLine) => number,
): void {
  const isLeft = units.every(({ item, quantity }) => {
    const line = order.lines[item];
    return line !== undefined && quantity <= left(line);
  });
  if (!isLeft) throw new Rejection("FailedPrecondition", "QUANTITY_TOO_LARGE");
}

function unitsOpen({ lines }: StoredOrder): ItemUnits[] {
  return lines
    .map((line, item) => ({ item, quantity: openUnits(line) }))
    .filter(({ quantity }) => quantity > 0);
}

function allUnits({ lines }: StoredOrder): ItemUnits[] {
  return lines.map(({ quantity }, item) => ({ item, quantity }));
}

function shipmentId(shipment: number | undefined, { shipments }: KnownIds): string | null {
  return shipment === undefined ? null : (shipments.get(shipment) ?? null);
}

function expireTime({ expireTimes }: Fixture, time: number | undefined): Date | null {
  return time === undefined ? null : (expireTimes[time] ?? null);
}
