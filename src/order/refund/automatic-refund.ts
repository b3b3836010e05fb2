import type { Tx } from "../../infra/postgres/postgres.ts";
import type { LedgerPayment } from "../ledger/ledger-rows.ts";
import type { Order } from "../order-types.ts";
import { allocateRefund } from "./allocate-refund.ts";
import { type RefundBasis, refundPartsLeft } from "./refund-parts.ts";
import { insertRefunds, type NewRefund, readRefundBases } from "./refund-rows.ts";

/** A refund that the service makes by itself. */
export interface AutomaticRefund {
  /** Also that of the request to the gateway. */
  id: string;
  order: Order;
  /** The payment without the refund. */
  payment: LedgerPayment;
  minorUnits: bigint;
  /** A payment has one refund for each cause. */
  cause: string;
  reason: string;
  now: Date;
}

/**
 * Stores automatic refunds of payments whose orders are locked. The amount of each is divided among what is left of the
 * payment. The requests to the gateway are rows of their own.
 */
export async function insertAutomaticRefunds(tx: Tx, refunds: readonly AutomaticRefund[]): Promise<void> {
  if (refunds.length === 0) return;
  const bases = await readRefundBases(
    tx,
    refunds.map(({ payment }) => payment),
  );
  await insertRefunds(
    tx,
    refunds.flatMap((refund) => {
      const basis = bases.get(refund.payment.id);
      return basis === undefined ? [] : [sharedRefund(refund, basis)];
    }),
  );
}

function sharedRefund(
  { order, payment, minorUnits, ...refund }: AutomaticRefund,
  basis: RefundBasis,
): NewRefund {
  const left = refundPartsLeft(order, basis);
  return {
    ...refund,
    orderId: order.id,
    paymentId: payment.id,
    kind: "AUTOMATIC",
    shares: allocateRefund(order.id, left, minorUnits, { kind: "AMOUNT", amount: minorUnits }),
    state: "PENDING",
    reference: "",
    actor: "SYSTEM",
  };
}
