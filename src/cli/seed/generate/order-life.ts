import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../kernel/durations.ts";
import type { PaymentMethod } from "../../../order/order.ts";
import type { SeedOrder } from "./customers.ts";

/** Reservation of the orders that expire, in seconds. */
export const RESERVATION_SECONDS = 1_800;
/** Time from an order to its cancellation. */
const CANCEL_AFTER_MS = HOUR_MS;
/** Time from the beginning of an expiry to its end. */
const EXPIRY_MS = 1_000;

/** Shares of all orders, and of those that are not paid in the end. */
const SHARES = { expired: 0.3, cancelledAfterPayment: 0.3, unpaid: 0.03, bankTransfer: 0.2 };
/** Shares of the orders that are shipped. */
const SHIPPED_SHARES = { inTwoParts: 0.25, returned: 0.05 };

/** An event in the life of an order after it was placed. */
export interface LifeEvent {
  type: "PAID" | "SHIPPED" | "DELIVERED" | "ITEMS_RETURNED" | "CANCELLED" | "EXPIRY_STARTED" | "EXPIRED";
  /** Time after the order, in milliseconds. */
  afterMs: number;
  /** Index of the shipment that is shipped or delivered; 0 for other events. */
  part: number;
}

/** The life of an order until the first run of the seed. */
export interface OrderLife {
  method: PaymentMethod;
  /** Number of shipments of an order that is shipped completely. */
  parts: 1 | 2;
  /** In the order of their times. */
  events: LifeEvent[];
}

/**
 * Generates the life of an order from its number only, so that it changes no other random values: what happens after the
 * first run is left out, so that recent orders are not delivered yet.
 * @param units number of units of its items
 */
export function generateLife({ number, ageMs, isCancelled }: SeedOrder, units: number): OrderLife {
  const random = createRandom(number);
  const method = random() < SHARES.bankTransfer ? "BANK_TRANSFER" : "CASH";
  if (isCancelled) return { method, parts: 1, events: generateClosing(random()) };
  if (random() < SHARES.unpaid) return { method: "BANK_TRANSFER", parts: 1, events: [] };
  const parts = units > 1 && random() < SHIPPED_SHARES.inTwoParts ? 2 : 1;
  const events = generateFulfillment(random, method, parts)
    .filter(({ afterMs }) => afterMs <= ageMs)
    .sort((a, b) => a.afterMs - b.afterMs);
  return { method, parts, events };
}

/** Returns the events of an order that is cancelled before or after its payment, or expires. */
function generateClosing(share: number): LifeEvent[] {
  const expireAfterMs = RESERVATION_SECONDS * 1_000;
  if (share < SHARES.expired) {
    return [
      { type: "EXPIRY_STARTED", afterMs: expireAfterMs, part: 0 },
      { type: "EXPIRED", afterMs: expireAfterMs + EXPIRY_MS, part: 0 },
    ];
  }
  const cancelled: LifeEvent = { type: "CANCELLED", afterMs: CANCEL_AFTER_MS, part: 0 };
  if (share >= SHARES.expired + SHARES.cancelledAfterPayment) return [cancelled];
  return [{ type: "PAID", afterMs: CANCEL_AFTER_MS / 4, part: 0 }, cancelled];
}

/** Returns the events of an order that is paid, shipped and delivered, and of which a unit may be returned. */
function generateFulfillment(random: () => number, method: PaymentMethod, parts: 1 | 2): LifeEvent[] {
  const between = (min: number, max: number) => Math.floor(min + random() * (max - min));
  const paidMs = method === "CASH" ? between(5 * MINUTE_MS, 25 * MINUTE_MS) : between(DAY_MS, 6 * DAY_MS);
  const events: LifeEvent[] = [{ type: "PAID", afterMs: paidMs, part: 0 }];
  let shippedMs = paidMs;
  let deliveredMs = paidMs;
  for (let part = 0; part < parts; part++) {
    shippedMs += between(DAY_MS / 2, 4 * DAY_MS);
    // A later shipment does not arrive before the one ahead of it.
    deliveredMs = Math.max(deliveredMs, shippedMs) + between(DAY_MS, 3 * DAY_MS);
    events.push({ type: "SHIPPED", afterMs: shippedMs, part });
    events.push({ type: "DELIVERED", afterMs: deliveredMs, part });
  }
  if (random() < SHIPPED_SHARES.returned) {
    const afterMs = deliveredMs + between(2 * DAY_MS, 10 * DAY_MS);
    events.push({ type: "ITEMS_RETURNED", afterMs, part: 0 });
  }
  return events;
}

/** Returns a generator of numbers from 0 to 1, without 1: mulberry32, by Tommy Ettinger. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
