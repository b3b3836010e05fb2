import type { Fixture } from "../model/fixture.ts";
import { amountDue, type ModelLine, openUnits } from "../model/model-order.ts";
import type { ItemUnits, KnownIds, OrderWrite } from "../model/operation.ts";
import type { StoredOrder } from "../model/shop-run.ts";
import type { NaiveContext, OrderChange } from "./apply-naive-change.ts";
import { recordSales } from "./naive-promotions.ts";
import type { NaiveStatements } from "./naive-statements.ts";
import { Rejection } from "./rejection.ts";

/** Verifies the units and the amount of a change, and writes what only this change has. */
export async function prepareChange(
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
      return { event: "PAID", payment: "PAID", amount: operation.amount };
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

/** Returns the cancellation of units. */
export function cancelled(units: readonly ItemUnits[], reason: "CANCEL" | "EXPIRE") {
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

/** Returns the open units of an order. */
export function unitsOpen({ lines }: StoredOrder): ItemUnits[] {
  return lines
    .map((line, item) => ({ item, quantity: openUnits(line) }))
    .filter(({ quantity }) => quantity > 0);
}

function allUnits({ lines }: StoredOrder): ItemUnits[] {
  return lines.map(({ quantity }, item) => ({ item, quantity }));
}

/** Returns the id of a shipment; null for all. */
export function shipmentId(shipment: number | undefined, { shipments }: KnownIds): string | null {
  return shipment === undefined ? null : (shipments.get(shipment) ?? null);
}

/** Returns an expire time; null for none. */
export function expireTime({ expireTimes }: Fixture, time: number | undefined): Date | null {
  return time === undefined ? null : (expireTimes[time] ?? null);
}
