import fc from "fast-check";
import { AppError } from "../../../src/kernel/errors.ts";
import { priceOfUnits } from "../../../src/order/complete-order.ts";
import type { allocateRefund, RefundSelection } from "../../../src/order/refund/allocate-refund.ts";
import {
  partsAmount,
  type RefundBasis,
  type RefundShares,
  type RefundSubject,
  refundPartsLeft,
} from "../../../src/order/refund/refund-parts.ts";
import { type LineInput, orderOf } from "./refund-fixtures.ts";

/** An order, and the money of its payment before the first refund. */
export interface PaidOrder {
  order: RefundSubject;
  captured: bigint;
  cancelledUnits: ReadonlyMap<string, bigint>;
}

/** Something that happens to the payment of an order. Shares are per mille of what is left. */
export type RefundStep =
  | { kind: "ITEMS"; share: bigint; chosen: number; includeShipping: boolean }
  | { kind: "AMOUNT"; share: bigint }
  | { kind: "SHIPPING" }
  /** The gateway reports that an earlier refund has failed. */
  | { kind: "FAILURE"; chosen: number }
  /** The gateway reports a refund that was made in its own console, or a lost dispute. */
  | { kind: "FOREIGN"; share: bigint }
  /** A lost dispute is won after all. */
  | { kind: "WON"; share: bigint }
  /** A second capture is reported. */
  | { kind: "CAPTURE"; share: bigint };

const MILLE = 1_000n;
const share = fc.bigInt({ min: 1n, max: MILLE });
const minorUnits = fc.oneof(
  fc.bigInt({ min: 0n, max: 3n }),
  fc.bigInt({ min: 0n, max: 10n ** 4n }),
  fc.bigInt({ min: 0n, max: 10n ** 13n }),
);
const perMille = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.constant(MILLE));
const lines = fc.array(
  fc.record({
    unitPrice: minorUnits,
    quantity: fc.bigInt({ min: 1n, max: 12n }),
    tax: perMille,
    cancelled: fc.bigInt({ min: 0n, max: 3n }),
  }),
  { minLength: 1, maxLength: 5 },
);

/** Orders with any lines, tax mode, discount and shipping, of which units may be cancelled before they are paid. */
export const paidOrders: fc.Arbitrary<PaidOrder> = fc
  .record({
    lines,
    isTaxIncluded: fc.boolean(),
    discount: fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: MILLE })),
    shipping: minorUnits,
    shippingTax: perMille,
    hasCancelled: fc.boolean(),
    captured: fc.constantFrom("what is due", "less", "more"),
  })
  .map(({ lines: inputs, discount, shippingTax, hasCancelled, captured, ...input }): PaidOrder => {
    const orderLines = inputs.map(({ unitPrice, quantity, tax }): LineInput => {
      return { unitPrice, quantity, tax: (unitPrice * quantity * tax) / MILLE };
    });
    const subtotal = orderLines.reduce((sum, { unitPrice, quantity }) => sum + unitPrice * quantity, 0n);
    const order = orderOf({
      ...input,
      lines: orderLines,
      discount: -((subtotal * discount) / MILLE),
      shippingTax: (input.shipping * shippingTax) / MILLE,
    });
    const units = inputs.map(({ cancelled, quantity }) => (cancelled < quantity ? cancelled : quantity));
    const cancelledUnits = new Map(
      order.items.map(({ id }, index) => [id, hasCancelled ? (units[index] ?? 0n) : 0n]),
    );
    const due = amountDue(order, cancelledUnits);
    const amounts = { "what is due": due, less: due / 3n, more: 2n * due + 7n };
    return { order, cancelledUnits, captured: amounts[captured] };
  })
  .filter(({ captured }) => captured > 0n);

/** Returns what is due of an order, which its cancelled units lower. */
export function amountDue({ items, totals }: RefundSubject, cancelled: ReadonlyMap<string, bigint>): bigint {
  const due = items.reduce(
    (rest, item) => rest - priceOfUnits(item, cancelled.get(item.id) ?? 0n, totals),
    totals.total,
  );
  return due > 0n ? due : 0n;
}

const chosen = fc.nat(31);

/** Sequences of refunds, and of what gateways report meanwhile. */
export const refundSteps: fc.Arbitrary<RefundStep[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("ITEMS"), share, chosen, includeShipping: fc.boolean() }),
    fc.record({ kind: fc.constant("ITEMS"), share, chosen, includeShipping: fc.boolean() }),
    fc.record({ kind: fc.constant("AMOUNT"), share }),
    fc.record({ kind: fc.constant("SHIPPING") }),
    fc.record({ kind: fc.constant("FAILURE"), chosen }),
    fc.record({ kind: fc.constant("FOREIGN"), share }),
    fc.record({ kind: fc.constant("WON"), share }),
    fc.record({ kind: fc.constant("CAPTURE"), share }),
  ),
  { maxLength: 10 },
);

/** The money of a payment after a sequence of steps. */
export interface RefundedPayment {
  captured: bigint;
  /** What went back without a refund of the service. */
  otherReturns: bigint;
  refunds: RefundShares[];
}

/**
 * Takes the steps one after the other, and then refunds all units that are left, and the rest.
 * @param allocate divides a refund, as `allocateRefund` does
 * @param onRefund observes what is left before each refund, and the refund; undefined if it was rejected
 */
export function refundAll(
  { order, captured, cancelledUnits }: PaidOrder,
  steps: readonly RefundStep[],
  allocate: typeof allocateRefund,
  onRefund: (before: ReturnType<typeof refundPartsLeft>, refund: RefundShares | undefined) => void = () => {},
): RefundedPayment {
  const payment: RefundedPayment = { captured, otherReturns: 0n, refunds: [] };
  const basis = (): RefundBasis => ({ ...payment, cancelledUnits, earlier: payment.refunds });
  const refund = (selection: RefundSelection) => {
    const left = refundPartsLeft(order, basis());
    const made = unlessRejected(() => allocate("order", left, partsAmount(left), selection));
    onRefund(left, made);
    if (made !== undefined) payment.refunds.push(made);
  };
  for (const step of steps) {
    const left = refundPartsLeft(order, basis());
    const amount = "share" in step ? (partsAmount(left) * step.share) / MILLE : 0n;
    if (step.kind === "ITEMS") {
      const units = left.lines
        .filter((line, index) => line.units > 0n && ((step.chosen >> index) & 1) === 1)
        .map((line) => ({ itemId: line.itemId, quantity: (line.units * step.share + 999n) / MILLE }));
      if (units.length > 0) refund({ kind: "ITEMS", items: units, includeShipping: step.includeShipping });
    } else if (step.kind === "AMOUNT") refund({ kind: "AMOUNT", amount });
    else if (step.kind === "SHIPPING") refund({ kind: "SHIPPING" });
    else if (step.kind === "FAILURE") payment.refunds.splice(step.chosen, 1);
    else if (step.kind === "FOREIGN") payment.otherReturns += amount;
    else if (step.kind === "WON") payment.otherReturns = (payment.otherReturns * step.share) / MILLE;
    else payment.captured += (payment.captured * step.share) / MILLE;
  }
  const units = refundPartsLeft(order, basis()).lines.filter((line) => line.units > 0n);
  const items = units.map((line) => ({ itemId: line.itemId, quantity: line.units }));
  if (items.length > 0) refund({ kind: "ITEMS", items, includeShipping: true });
  // Units can all be refunded when a lost dispute is won or another capture is reported.
  const amount = partsAmount(refundPartsLeft(order, basis()));
  if (items.length === 0 && amount > 0n) refund({ kind: "AMOUNT", amount });
  return payment;
}

function unlessRejected<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}
