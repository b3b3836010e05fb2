import { AppError, invalidField, notFound, quoted } from "../../kernel/errors.ts";
import type { Order, OrderItem } from "../order-types.ts";

/** Units of an item. */
export interface ItemUnits {
  item: OrderItem;
  quantity: bigint;
}

/** Units of an item as a request or an event names them. */
export interface ItemQuantity {
  itemId: string;
  quantity: bigint;
}

/** Which units a change can take: those that are neither cancelled nor shipped, or those that can be returned. */
export type UnitSource = "open" | "shipped";

const LEFT: Readonly<Record<UnitSource, (item: OrderItem) => bigint>> = {
  open: ({ quantity, cancelledQuantity, fulfilledQuantity }) =>
    quantity - cancelledQuantity - fulfilledQuantity,
  shipped: ({ fulfilledQuantity, returnedQuantity }) => fulfilledQuantity - returnedQuantity,
};
const DESCRIPTIONS: Readonly<Record<UnitSource, string>> = {
  open: "neither shipped nor cancelled",
  shipped: "shipped and not returned",
};

/** Returns the units of an order that are neither cancelled nor shipped. */
export function openUnits({ items }: Pick<Order, "items">): ItemUnits[] {
  return items.map((item) => ({ item, quantity: LEFT.open(item) })).filter(({ quantity }) => quantity > 0n);
}

/**
 * @param field path of the items in the request
 * @throws AppError invalid_argument when a request names an item twice
 */
export function assertDistinctItems(requested: readonly ItemQuantity[], field = "items"): void {
  const ids = new Set<string>();
  for (const [index, { itemId }] of requested.entries()) {
    if (ids.has(itemId)) {
      throw invalidField(
        `${field}[${index}].item_id`,
        `names item ${quoted(itemId)} again. Name each item once.`,
      );
    }
    ids.add(itemId);
  }
}

/**
 * Returns the units of an order that a request names.
 * @throws AppError not_found for an unknown item; failed_precondition, with what is left of each such item, when fewer
 *   units are left
 */
export function selectUnits(
  order: Pick<Order, "id" | "items">,
  requested: readonly ItemQuantity[],
  source: UnitSource,
): ItemUnits[] {
  const units = requested.map(({ itemId, quantity }): ItemUnits => {
    const item = order.items.find(({ id }) => id === itemId);
    if (item === undefined) throw notFound("order_item", itemId);
    return { item, quantity };
  });
  const missing = units.filter(({ item, quantity }) => quantity > LEFT[source](item));
  if (missing.length > 0) throw quantityTooLarge(order.id, missing, source);
  return units;
}

function quantityTooLarge(orderId: string, units: readonly ItemUnits[], source: UnitSource): AppError {
  const preconditions = units.map(({ item, quantity }) => ({
    type: "QUANTITY",
    subject: `orders/${orderId}/items/${item.id}`,
    description: `item ${item.id}: ${LEFT[source](item)} ${DESCRIPTIONS[source]}, ${quantity} requested`,
  }));
  const description = preconditions.map((one) => one.description).join("; ");
  return new AppError("failed_precondition", `Too few units are left: ${description}. Nothing was changed.`, {
    reason: "QUANTITY_TOO_LARGE",
    preconditions,
  });
}

/** Returns items with more units of a quantity, such as `cancelledQuantity`. */
export function withUnits(
  items: readonly OrderItem[],
  units: readonly ItemUnits[],
  field: "cancelledQuantity" | "fulfilledQuantity" | "returnedQuantity",
): OrderItem[] {
  const added = new Map(units.map(({ item, quantity }) => [item.id, quantity]));
  return items.map((item) => {
    const quantity = added.get(item.id);
    return quantity === undefined ? item : { ...item, [field]: item[field] + quantity };
  });
}
