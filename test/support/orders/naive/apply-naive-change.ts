import type { Fixture } from "../model/fixture.ts";
import { fulfillmentOf } from "../model/model-order.ts";
import type { ItemUnits } from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import type { Flaw } from "./flaws.ts";
import { countLast, releaseHold, reverseSales } from "./naive-promotions.ts";
import type { NaiveChange, NaiveStatements } from "./naive-statements.ts";
import { changeStock, lockProducts } from "./naive-stock.ts";

/** The transaction of a change, and the flaw of the implementation. */
export interface NaiveContext {
  statements: NaiveStatements;
  fixture: Fixture;
  flaw: Flaw | undefined;
}

/** A change of a locked order. */
export interface OrderChange {
  event: string;
  payment?: string;
  closing?: string;
  /** What was paid. */
  amount?: number;
  /** What becomes of units. */
  moved?: {
    units: readonly ItemUnits[];
    column: "cancelled_quantity" | "fulfilled_quantity" | "returned_quantity";
    reason: NaiveChange["reason"];
    onHand: number;
    reserved: number;
  };
}

/** Writes a change of a locked order with its event, its stock movements and its purchases. */
export async function applyChange(
  context: NaiveContext,
  order: StoredOrder,
  { event, payment = order.payment, closing = order.closing, amount, moved }: OrderChange,
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
     ) select $1::uuid, 1 + coalesce(max(sequence), 1), $2, 'SYSTEM', '', $3, $4, $5, $6, now()
     from order_event where order_id = $1::uuid`,
    [
      id,
      event,
      payment,
      fulfillmentOf(changed),
      isEmpty && closing === "NONE" ? "CANCELLED" : closing,
      JSON.stringify({
        items: moved?.units.map(({ item, quantity }) => ({
          id: String(item + 1),
          quantity: String(quantity),
        })),
        restocked: (moved?.onHand ?? 0) > 0,
        amount: amount?.toString(),
      }),
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
    // Units that are returned and cannot be sold again are no longer sold, and stay off the stock.
    if (onHand === 0 && reserved === 0) {
      await statements.addSales(products[index] ?? 0, -quantity);
      continue;
    }
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
