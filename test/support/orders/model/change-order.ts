import {
  allowedTransitions,
  amountDue,
  describeOrder,
  type ModelLine,
  openUnits,
  unitsLeft,
} from "./model-order.ts";
import {
  FIELD_REQUIRED,
  type ModelOrder,
  type ModelState,
  moveStock,
  ORDER_NOT_FOUND,
  rejected,
  type Step,
} from "./model-state.ts";
import type {
  CancelOrderItems,
  DeliverOrder,
  ItemUnits,
  MarkOrderPaid,
  OrderWrite,
  PassExpireTime,
  ReturnOrderItems,
  SetOrderExpireTime,
  ShipOrder,
} from "./operation.ts";

/** A change of an order, and of the stock of its units. */
interface Change {
  event: string;
  set: Partial<ModelOrder>;
  units?: readonly ItemUnits[];
  stock?: { onHand: number; reserved: number };
}

/** Returns whether a repeat of an operation would deliver what was shipped in between. */
export function isUnrepeatable(operation: OrderWrite): boolean {
  return (
    operation.method === "DeliverOrder" &&
    operation.shipment === undefined &&
    operation.etag === undefined &&
    operation.requestId === undefined
  );
}

/** Returns what a change of an order does to a state. */
export function changeOrder(state: ModelState, operation: OrderWrite): Step {
  if (isUnrepeatable(operation)) return { state, outcome: FIELD_REQUIRED };
  const { order: key, etag } = operation;
  const order = state.orders[key];
  if (order === undefined) return { state, outcome: ORDER_NOT_FOUND };
  if (isRepeated(state, order, operation)) return { state, outcome: describeOrder(order) };
  if (etag !== undefined && etag !== order.version) {
    return { state, outcome: { code: "Aborted", reason: "STALE_ETAG" } };
  }
  const decision = decide(state, order, operation);
  if (typeof decision === "string") return { state, outcome: rejected(decision) };
  const next = applyChange(state, key, decision);
  const shipments =
    operation.method === "ShipOrder"
      ? { ...state.shipments, [operation.requestId]: { order: key, index: order.shipments.length } }
      : state.shipments;
  return { state: { ...next.state, shipments }, outcome: describeOrder(next.order) };
}

/** Returns whether a change without quantities and amounts has been made already. */
function isRepeated(state: ModelState, order: ModelOrder, operation: OrderWrite): boolean {
  if (operation.method === "CancelOrder") return order.closing === "CANCELLED";
  if (operation.method === "DeliverOrder") {
    const shipments = order.shipments.filter((_, index) => isNamed(state, operation, index));
    return shipments.length > 0 && shipments.every(({ isDelivered }) => isDelivered);
  }
  if (operation.method !== "SetOrderExpireTime" || !isAllowed(order, "SET_EXPIRE_TIME")) return false;
  if (operation.time === undefined) return !order.hasExpireTime;
  return order.hasExpireTime && !order.isDue && order.time === operation.time;
}

/** Returns the change that an operation makes, or why the order does not allow it. */
function decide(state: ModelState, order: ModelOrder, operation: OrderWrite): Change | string {
  const transition = TRANSITIONS[operation.method];
  if (!isAllowed(order, transition)) return "ORDER_STATE";
  switch (operation.method) {
    case "CancelOrder":
      return cancelUnits(order, allOpenUnits(order), { event: "CANCELLED", closing: "CANCELLED" });
    case "MarkOrderPaid":
      return pay(order, operation);
    case "ShipOrder":
      return ship(order, operation);
    case "DeliverOrder":
      return deliver(state, order, operation);
    case "CancelOrderItems":
      return cancelItems(order, operation);
    case "ReturnOrderItems":
      return returnItems(order, operation);
    case "SetOrderExpireTime":
      return setExpireTime(operation);
  }
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

function isAllowed(order: ModelOrder, transition: string): boolean {
  return allowedTransitions(order).includes(transition);
}

function pay(order: ModelOrder, { amount }: MarkOrderPaid): Change | string {
  if (amount !== amountDue(order)) return "AMOUNT_NOT_DUE";
  const sold = order.lines.filter((line) => unitsLeft(line) > 0);
  const sales = sold.map((line) => `SALE of ${line.product} for ${unitsLeft(line) * line.unitPrice}`);
  const purchases = order.hasPromotion ? sales : [];
  return { event: "PAID", set: { payment: "PAID", paid: amount, purchases } };
}

function ship(order: ModelOrder, { items }: ShipOrder): Change | string {
  const units = items.length === 0 ? allOpenUnits(order) : items;
  if (!isLeft(order, units, openUnits)) return "QUANTITY_TOO_LARGE";
  return {
    event: "SHIPPED",
    set: {
      lines: withUnits(order, units, "fulfilled"),
      shipments: [...order.shipments, { units, isDelivered: false }],
    },
    units,
    stock: { onHand: -1, reserved: -1 },
  };
}

function deliver(state: ModelState, order: ModelOrder, operation: DeliverOrder): Change {
  const shipments = order.shipments.map((shipment, index) => ({
    ...shipment,
    isDelivered: shipment.isDelivered || isNamed(state, operation, index),
  }));
  return { event: "DELIVERED", set: { shipments } };
}

function isNamed({ shipments }: ModelState, { order, shipment }: DeliverOrder, index: number): boolean {
  if (shipment === undefined) return true;
  const named = shipments[shipment];
  return named?.order === order && named.index === index;
}

function cancelItems(order: ModelOrder, { items }: CancelOrderItems): Change | string {
  if (!isLeft(order, items, openUnits)) return "QUANTITY_TOO_LARGE";
  const change = cancelUnits(order, items, { event: "ITEMS_CANCELLED", closing: "NONE" });
  const isAll = change.set.lines?.every(({ quantity, cancelled }) => quantity === cancelled) === true;
  return isAll ? { ...change, set: { ...change.set, closing: "CANCELLED" } } : change;
}

function cancelUnits(
  order: ModelOrder,
  units: readonly ItemUnits[],
  { event, closing }: { event: string; closing: string },
): Change {
  return {
    event,
    set: {
      closing,
      lines: withUnits(order, units, "cancelled"),
      purchases: withReversals(order, units),
    },
    units,
    stock: { onHand: 0, reserved: -1 },
  };
}

function returnItems(order: ModelOrder, { items, restock }: ReturnOrderItems): Change | string {
  if (!isLeft(order, items, ({ fulfilled, returned }) => fulfilled - returned)) return "QUANTITY_TOO_LARGE";
  return {
    event: "ITEMS_RETURNED",
    set: { lines: withUnits(order, items, "returned"), purchases: withReversals(order, items) },
    units: items,
    stock: { onHand: restock ? 1 : 0, reserved: 0 },
  };
}

function setExpireTime({ time }: SetOrderExpireTime): Change {
  return { event: "EXPIRE_TIME_SET", set: { hasExpireTime: time !== undefined, time, isDue: false } };
}

/** Returns a state in which the expire time of an order has passed. */
export function passExpireTime(state: ModelState, { order: key }: PassExpireTime): Step {
  const order = state.orders[key];
  if (order === undefined || !order.hasExpireTime) return { state, outcome: { code: "OK" } };
  const due = { ...order, isDue: true };
  return { state: { ...state, orders: { ...state.orders, [key]: due } }, outcome: { code: "OK" } };
}

/** Returns the states after one step of the expiry of an order. A worker makes it at any time. */
export function progressExpiries(state: ModelState): ModelState[] {
  return Object.entries(state.orders).flatMap(([key, order]) => {
    const { payment, closing, isDue } = order;
    if (payment !== "UNPAID") return [];
    if (closing === "EXPIRING") {
      const change = cancelUnits(order, allOpenUnits(order), { event: "EXPIRED", closing: "EXPIRED" });
      return [applyChange(state, key, change).state];
    }
    if (closing !== "NONE" || !isDue) return [];
    return [applyChange(state, key, { event: "EXPIRY_STARTED", set: { closing: "EXPIRING" } }).state];
  });
}

function applyChange(state: ModelState, key: string, { event, set, units = [], stock }: Change) {
  const before = state.orders[key];
  if (before === undefined) throw new Error(`there is no order ${key}`);
  const order: ModelOrder = {
    ...before,
    ...set,
    version: before.version + 1,
    events: [...before.events, event],
  };
  const lines = units.map(({ item, quantity }) => ({ product: before.lines[item]?.product ?? 0, quantity }));
  const moved = moveStock(state, lines, stock ?? { onHand: 0, reserved: 0 });
  return { order, state: { ...moved, orders: { ...moved.orders, [key]: order } } };
}

function allOpenUnits({ lines }: ModelOrder): ItemUnits[] {
  return lines
    .map((line, item) => ({ item, quantity: openUnits(line) }))
    .filter(({ quantity }) => quantity > 0);
}

function isLeft(order: ModelOrder, units: readonly ItemUnits[], left: (line: ModelLine) => number): boolean {
  return units.every(({ item, quantity }) => {
    const line = order.lines[item];
    return line !== undefined && quantity <= left(line);
  });
}

function withUnits(
  { lines }: ModelOrder,
  units: readonly ItemUnits[],
  field: "cancelled" | "fulfilled" | "returned",
): ModelLine[] {
  const added = (index: number) => units.find(({ item }) => item === index)?.quantity ?? 0;
  return lines.map((line, index) => ({ ...line, [field]: line[field] + added(index) }));
}

/** Returns the purchases of an order with the reversals of units. Those of an unpaid order were never recorded. */
function withReversals({ lines, payment, hasPromotion, purchases }: ModelOrder, units: readonly ItemUnits[]) {
  if (payment !== "PAID" || !hasPromotion) return purchases;
  const reversals = units.map(({ item, quantity }) => {
    const line = lines[item];
    if (line === undefined) return "";
    const kind = unitsLeft(line) === quantity ? "REVERSAL" : "PARTIAL REVERSAL";
    return `${kind} of ${line.product} for ${quantity * line.unitPrice}`;
  });
  return [...purchases, ...reversals];
}
