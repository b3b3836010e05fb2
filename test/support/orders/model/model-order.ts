import type { ItemUnits, Line, Outcome } from "./operation.ts";

/** A line of an order, with what became of its units. */
export interface ModelLine extends Line {
  unitPrice: number;
  /** On top of the price of all units. */
  tax: number;
  cancelled: number;
  fulfilled: number;
  returned: number;
}

/** A shipment of units of an order. */
export interface ModelShipment {
  units: readonly ItemUnits[];
  isDelivered: boolean;
}

/** An order without what identifies it. */
export interface OrderContent {
  hasPromotion: boolean;
  lines: readonly ModelLine[];
  /** Price of the shipping, with its tax. */
  shipping: number;
  payment: string;
  /** What was paid. */
  paid: number;
  closing: string;
  version: number;
  shipments: readonly ModelShipment[];
  /** The types of the events, oldest first. */
  events: readonly string[];
  /** The purchases that were recorded for the promotion, as text. */
  purchases: readonly string[];
  /** Whether the order has an expire time, which may have passed. */
  hasExpireTime: boolean;
}

/** Returns the units of a line that are neither cancelled nor shipped. */
export function openUnits({ quantity, cancelled, fulfilled }: ModelLine): number {
  return quantity - cancelled - fulfilled;
}

/** Returns the units of a line that are neither cancelled nor returned. */
export function unitsLeft({ quantity, cancelled, returned }: ModelLine): number {
  return quantity - cancelled - returned;
}

/** Returns what became of the units of an order. */
export function fulfillmentOf({ lines, shipments }: OrderContent): string {
  if (shipments.length === 0) return "UNFULFILLED";
  if (lines.some((line) => openUnits(line) > 0)) return "PARTIALLY_FULFILLED";
  return shipments.every(({ isDelivered }) => isDelivered) ? "DELIVERED" : "FULFILLED";
}

/** Returns the overall state of an order. */
export function stateOf(order: OrderContent): string {
  const { closing, payment } = order;
  if (closing === "CANCELLED" || closing === "EXPIRED") return closing;
  if (payment === "UNPAID") return "PENDING";
  return fulfillmentOf(order) === "DELIVERED" ? "COMPLETED" : "CONFIRMED";
}

/** Returns the changes that callers can make. */
export function allowedTransitions(order: OrderContent): string[] {
  const refund = order.paid > 0 && order.closing !== "EXPIRING" ? ["REFUND"] : [];
  if (order.closing !== "NONE") return refund;
  const isPaid = order.payment === "PAID";
  const hasShipments = order.shipments.length > 0;
  const hasOpenUnits = order.lines.some((line) => openUnits(line) > 0);
  const conditions = {
    CANCEL: !hasShipments,
    MARK_PAID: !isPaid,
    SHIP: isPaid && hasOpenUnits,
    DELIVER: hasShipments && fulfillmentOf(order) !== "DELIVERED",
    CANCEL_ITEMS: hasOpenUnits,
    RETURN_ITEMS: order.lines.some(({ fulfilled, returned }) => fulfilled > returned),
    SET_EXPIRE_TIME: !isPaid,
    PAY: !isPaid,
  };
  const names = Object.entries(conditions)
    .filter(([, isAllowed]) => isAllowed)
    .map(([name]) => name);
  return [...names, ...refund];
}

/** Returns what remains to be paid. */
export function amountDue(order: OrderContent): number {
  const { closing, payment, lines } = order;
  if (payment === "PAID" || closing === "CANCELLED" || closing === "EXPIRED") return 0;
  const prices = lines.map(
    ({ quantity, cancelled, unitPrice, tax }) =>
      cancelled * unitPrice + Math.floor((tax * cancelled) / quantity),
  );
  return prices.reduce((due, price) => due - price, totalOf(order));
}

/** The parts of an order that never change. */
export interface QuotedContent {
  lines: readonly Pick<ModelLine, "product" | "quantity" | "unitPrice" | "tax">[];
  /** Price of the shipping, with its tax. */
  shipping: number;
}

/** Returns the sum of the prices and taxes of lines and of the shipping. */
export function totalOf({ lines, shipping }: QuotedContent): number {
  return lines.reduce((sum, { quantity, unitPrice, tax }) => sum + quantity * unitPrice + tax, shipping);
}

/** Returns what a caller sees of an order. */
export function describeOrder(order: OrderContent, further: { replayed?: boolean } = {}) {
  const { lines, payment, closing, version, hasPromotion, hasExpireTime } = order;
  const isWaiting = payment === "UNPAID" && (closing === "NONE" || closing === "EXPIRING");
  return {
    code: "OK" as const,
    state: stateOf(order),
    payment,
    fulfillment: fulfillmentOf(order),
    version,
    lines,
    total: totalOf(order),
    due: amountDue(order),
    hasPromotion,
    expires: isWaiting && hasExpireTime,
    allowed: allowedTransitions(order),
    ...further,
  } satisfies Outcome;
}

/** Returns what is compared of a stored order: what a caller sees, and what belongs to it. */
export function describeStored(order: OrderContent) {
  const { closing, events, shipments, purchases } = order;
  const shipped = shipments.map(({ units, isDelivered }) => {
    const texts = units.map(({ item, quantity }) => `${quantity} of ${item}`);
    return `${texts.sort().join(", ")}${isDelivered ? " delivered" : ""}`;
  });
  return {
    ...describeOrder(order),
    closing,
    events,
    shipments: shipped.sort(),
    purchases: [...purchases].sort(),
  };
}
