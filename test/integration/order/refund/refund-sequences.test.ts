import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Order } from "../../../../gen/cartwright/order/v1/order_pb.ts";
import { failureOf } from "../../../support/errors.ts";
import { orderOf, payOrder, placeOrder, unitsOf } from "../../../support/orders/order-fixtures.ts";
import { type PaidOrder, paidOrders } from "../../../support/orders/refund-sequences.ts";
import { insertCapturedPayment } from "../../../support/payments/captured-payments.ts";
import {
  amount,
  type RefundSubject,
  refund,
  shipping,
  units,
} from "../../../support/payments/refund-requests.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { findViolations } from "../../../support/stores/invariants.ts";

let shop: TestShop;
beforeAll(async () => {
  // No worker: the requests to the gateway stay open.
  shop = await startShop({ WORKERS: "0" });
});
afterAll(() => shop.close());

/** A refund of a share of what is left, per mille, and whether the units are returned. */
interface Step {
  kind: "ITEMS" | "AMOUNT" | "SHIPPING";
  share: bigint;
  includeShipping: boolean;
  returnItems: boolean;
}
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("ITEMS" as const, "AMOUNT" as const, "SHIPPING" as const),
    share: fc.bigInt({ min: 1n, max: 1_000n }),
    includeShipping: fc.boolean(),
    returnItems: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

/** Stores an order with the prices, taxes, discount and shipping of another one, and ships it. */
async function storeOrder({ order: { items, totals } }: PaidOrder): Promise<Order> {
  const { id } = await placeOrder(
    shop,
    items.map(({ quantity }) => quantity),
    { stock: 12n },
  );
  for (const item of items) {
    await shop.database.query(
      "update order_item set unit_minor = $3, tax_minor = $4 where order_id = $1 and position = $2",
      [id, item.id, item.unitPrice.minorUnits.toString(), item.tax.minorUnits.toString()],
    );
  }
  const shippingTax = items.reduce((rest, { tax }) => rest - tax.minorUnits, totals.tax);
  const [price, tax] = [totals.shipping.toString(), shippingTax.toString()];
  await shop.database.query(
    `update orders set total_minor = $2, discount_minor = $3, shipping_minor = $4, tax_minor = $5, is_tax_included = $6,
       shipping_option = $7 where id = $1`,
    [
      id,
      totals.total.toString(),
      totals.discount.toString(),
      price,
      totals.tax.toString(),
      totals.isTaxIncluded,
      { id: "post", name: "Post", price, tax, minDeliveryDays: 0, maxDeliveryDays: 0 },
    ],
  );
  return orderOf(await shop.orders.getOrder({ id }));
}

/** Returns what is left of an order, as its refunds say. */
async function readLeft(id: string, captured: bigint) {
  const order = orderOf(await shop.orders.getOrder({ id }));
  const { refunds } = await shop.orders.listRefunds({ id, pageSize: 100 });
  const refunded = refunds.reduce((sum, one) => sum + (one.amount?.minorUnits ?? 0n), 0n);
  const unitsLeft = order.items.map((item) => {
    const lines = refunds.flatMap(({ lines: all }) => all.filter(({ itemId }) => itemId === item.id));
    return { itemId: item.id, left: lines.reduce((rest, { quantity }) => rest - quantity, item.quantity) };
  });
  return { order, refunds, minor: captured - refunded, units: unitsLeft.filter(({ left }) => left > 0n) };
}

function subjectOf(
  { kind, share, includeShipping }: Step,
  left: Awaited<ReturnType<typeof readLeft>>,
): RefundSubject {
  if (kind === "SHIPPING") return shipping;
  const [first] = left.units;
  if (kind === "AMOUNT" || first === undefined) return amount((left.minor * share) / 1_000n);
  return units({ [first.itemId]: (first.left * share + 999n) / 1_000n }, includeShipping);
}

/** Returns the amounts of a refund, or why it was rejected. */
async function outcomeOf(call: ReturnType<typeof refund>) {
  try {
    const { refund: made } = await call;
    return { amount: made?.amount?.minorUnits, lines: made?.lines, shipping: made?.shippingAmount };
  } catch {
    return { reason: (await failureOf(call)).reason };
  }
}

test.each(["by a gateway", "by hand"])(
  "any sequence of refunds and returns of any order that was paid %s gives back what was captured, and never more",
  async (paid) => {
    const property = fc.asyncProperty(paidOrders, steps, async (generated, sequence) => {
      const captured = generated.order.totals.total;
      fc.pre(captured > 0n && captured <= 10n ** 15n);
      const placed = await storeOrder(generated);
      const { id } = placed;
      if (paid === "by a gateway") await insertCapturedPayment(shop, placed);
      else await payOrder(shop, placed);
      await shop.orders.shipOrder({ id, requestId: randomUUID() });
      const reference = paid === "by hand" ? "transfer" : "";
      const made: bigint[] = [];
      /** Refunds as computed before. Returns why it was rejected. */
      const tryRefund = async (subject: RefundSubject, returnItems: boolean) => {
        const further = { returnItems: returnItems && subject.case === "items", reference };
        const computed = await outcomeOf(refund(shop, id, subject, { ...further, validateOnly: true }));
        const outcome = await outcomeOf(refund(shop, id, subject, further));
        expect(outcome).toEqual(computed);
        made.push(outcome.amount ?? 0n);
        return outcome.reason;
      };
      for (const step of sequence) {
        const left = await readLeft(id, captured);
        if (left.minor === 0n) break;
        const reason = await tryRefund(subjectOf(step, left), step.returnItems);
        expect([undefined, "NOTHING_TO_REFUND"]).toContain(reason);
      }
      const left = await readLeft(id, captured);
      const rest = Object.fromEntries(left.units.map(({ itemId, left: quantity }) => [itemId, quantity]));
      if (left.minor > 0n) {
        const last = left.units.length > 0 ? units(rest, true) : amount(left.minor);
        expect(await tryRefund(last, false)).toBeUndefined();
      }
      const end = await readLeft(id, captured);
      expect(end.minor).toBe(0n);
      expect(made.reduce((sum, one) => sum + one, 0n)).toBe(captured);
      expect(unitsOf(end.order).every(([, shipped = 0, returned = 0]) => returned <= shipped)).toBe(true);
      const more = await failureOf(refund(shop, id, amount(1n), { reference }));
      expect(["REFUND_TOO_LARGE", "ORDER_STATE"]).toContain(more.reason);
    });
    await fc.assert(property, { seed: 14, numRuns: 12, endOnFailure: true });
    expect(await findViolations(shop.database.url)).toEqual([]);
  },
);
