import type { OrderEvent, Tracking } from "../../../order/order.ts";
import type { LifeEvent, OrderLife } from "../generate/order-life.ts";

/** The parts of an order that its history follows from. */
export interface HistorySubject {
  items: readonly { productId: string; quantity: number }[];
  totalMinor: bigint;
  /** Text for the references of its payment and its shipments. */
  reference: string;
  createdMs: number;
  life: OrderLife;
  /** Id of its payment by hand. */
  paymentId: string;
  /** Returns the id of a shipment. */
  fulfillmentId(part: number): string;
}

/** Units of an item. */
export interface Units {
  /** From 1. */
  position: number;
  productId: string;
  quantity: number;
}

/** A row of `order_event`. */
export interface HistoryEvent {
  /** From 2: the first event is the order's own row. */
  sequence: number;
  type: LifeEvent["type"];
  actor: "CUSTOMER" | "SYSTEM";
  reason: string;
  isPaid: boolean;
  fulfillmentState: OrderEvent["fulfillmentState"];
  closing: OrderEvent["closing"];
  details: object;
  at: string;
}

/** Units that an event of an order moves. */
export interface HistoryMovement extends Units {
  reason: "ORDER" | "CANCEL" | "EXPIRE" | "SHIP" | "ORDER_RETURN";
  sequence: number;
  at: string;
}

/** A shipment. */
export interface HistoryFulfillment extends Tracking {
  id: string;
  units: readonly Units[];
  createdAt: string;
  deliveredAt: string | undefined;
}

/** A payment of an order by hand. */
export interface HistoryPayment {
  id: string;
  reference: string;
  minorUnits: bigint;
  at: string;
}

/** The events of an order, and the rows that follow from them. */
export interface OrderHistory {
  events: HistoryEvent[];
  /** One at most. */
  payments: HistoryPayment[];
  movements: HistoryMovement[];
  fulfillments: HistoryFulfillment[];
}

const MOVEMENTS: Readonly<Partial<Record<LifeEvent["type"], HistoryMovement["reason"]>>> = {
  SHIPPED: "SHIP",
  ITEMS_RETURNED: "ORDER_RETURN",
  CANCELLED: "CANCEL",
  EXPIRED: "EXPIRE",
};
const CLOSINGS: Readonly<Partial<Record<LifeEvent["type"], HistoryEvent["closing"]>>> = {
  EXPIRY_STARTED: "EXPIRING",
  EXPIRED: "EXPIRED",
  CANCELLED: "CANCELLED",
};

/** Returns the history of an order: the rows that the service would have written. */
export function createHistory(order: HistorySubject): OrderHistory {
  const { life, createdMs, fulfillmentId, paymentId, reference, totalMinor } = order;
  const placed = { reason: "ORDER", sequence: 1, at: new Date(createdMs).toISOString() } as const;
  const history: OrderHistory = {
    events: [],
    payments: [],
    movements: allUnits(order).map((units) => ({ ...units, ...placed })),
    fulfillments: [],
  };
  for (const [index, { type, afterMs, part }] of life.events.entries()) {
    const at = new Date(createdMs + afterMs).toISOString();
    const sequence = index + 2;
    const units = unitsOf(order, type, part);
    if (type === "SHIPPED") {
      history.fulfillments.push({
        id: fulfillmentId(part),
        units,
        ...trackingOf(order, part),
        createdAt: at,
        deliveredAt: undefined,
      });
    }
    if (type === "PAID") history.payments.push({ id: paymentId, reference, minorUnits: totalMinor, at });
    const delivered = type === "DELIVERED" ? history.fulfillments[part] : undefined;
    if (delivered !== undefined) delivered.deliveredAt = at;
    const reason = MOVEMENTS[type];
    if (reason !== undefined) {
      history.movements.push(...units.map((one) => ({ ...one, reason, sequence, at })));
    }
    history.events.push({
      sequence,
      type,
      actor: type === "CANCELLED" ? "CUSTOMER" : "SYSTEM",
      reason: type === "ITEMS_RETURNED" ? "The customer has changed their mind." : "",
      isPaid: type === "PAID" || history.events.some(({ isPaid }) => isPaid),
      fulfillmentState: fulfillmentStateOf(history, life.parts),
      closing: CLOSINGS[type] ?? "NONE",
      details: detailsOf(order, type, part, units),
      at,
    });
  }
  return history;
}

/** Returns the units of an item that movements of a reason have moved. */
export function movedUnits(
  { movements }: OrderHistory,
  position: number,
  ...reasons: readonly HistoryMovement["reason"][]
): number {
  return movements
    .filter((movement) => movement.position === position && reasons.includes(movement.reason))
    .reduce((sum, { quantity }) => sum + quantity, 0);
}

function fulfillmentStateOf({ fulfillments }: OrderHistory, parts: number): OrderEvent["fulfillmentState"] {
  if (fulfillments.length === 0) return "UNFULFILLED";
  if (fulfillments.length < parts) return "PARTIALLY_FULFILLED";
  return fulfillments.every(({ deliveredAt }) => deliveredAt !== undefined) ? "DELIVERED" : "FULFILLED";
}

/** Returns the units that an event concerns. */
function unitsOf(order: HistorySubject, type: LifeEvent["type"], part: number): Units[] {
  switch (type) {
    case "SHIPPED":
    case "DELIVERED":
      return unitsOfPart(order, part);
    case "ITEMS_RETURNED":
      return allUnits(order)
        .slice(0, 1)
        .map((units) => ({ ...units, quantity: 1 }));
    case "CANCELLED":
    case "EXPIRED":
      return allUnits(order);
    default:
      return [];
  }
}

function allUnits({ items }: HistorySubject): Units[] {
  return items.map(({ productId, quantity }, index) => ({ position: index + 1, productId, quantity }));
}

/** Returns the units of a shipment. Of two shipments, the first one has half of the units, and an odd one. */
function unitsOfPart(order: HistorySubject, part: number): Units[] {
  const units = allUnits(order);
  const total = units.reduce((sum, { quantity }) => sum + quantity, 0);
  const size = Math.ceil(total / order.life.parts);
  const [first, end] = [part * size, (part + 1) * size];
  let before = 0;
  return units.flatMap((one) => {
    const quantity = Math.min(before + one.quantity, end) - Math.max(before, first);
    before += one.quantity;
    return quantity > 0 ? [{ ...one, quantity }] : [];
  });
}

function trackingOf({ reference }: HistorySubject, part: number): Tracking {
  const trackingNumber = `${reference}-${part + 1}`;
  const trackingUri = `https://parcels.example.com/${trackingNumber}`;
  return { carrier: "Demo Parcel", trackingNumber, trackingUri };
}

/** Returns the details of an event, as the service stores them. */
function detailsOf(
  order: HistorySubject,
  type: LifeEvent["type"],
  part: number,
  units: readonly Units[],
): object {
  const { totalMinor, reference, life, fulfillmentId, paymentId } = order;
  const items = units.map(({ position, quantity }) => ({
    id: String(position),
    quantity: String(quantity),
  }));
  switch (type) {
    case "PAID":
      return { amount: totalMinor.toString(), method: life.method, reference, paymentId };
    case "SHIPPED":
      return { items, fulfillmentId: fulfillmentId(part), ...trackingOf(order, part) };
    case "DELIVERED":
      return { items, fulfillmentId: fulfillmentId(part) };
    case "ITEMS_RETURNED":
      return { items, restocked: true };
    default:
      return {};
  }
}
