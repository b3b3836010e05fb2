import type { LedgerEntryType } from "../../infra/payment/payment-gateway.ts";
import type { KnownEntry, KnownRefund, KnownRequest, LedgerPayment } from "./ledger-rows.ts";

/** A refund or a request with another state than before, and the reason of its failure. */
export type Settled<Row> = Row & { note: string };

/** A payment after its requests were settled, and what has changed. */
export interface Settlement {
  payment: LedgerPayment;
  refunds: Settled<KnownRefund>[];
  requests: Settled<KnownRequest>[];
}

/** The entries of a request that decide its state: those of the first type that it has. */
const REQUEST_RULES: Readonly<
  Record<KnownRequest["kind"], readonly (readonly [LedgerEntryType, KnownRequest["state"]])[]>
> = {
  CAPTURE: [
    ["CAPTURED", "DONE"],
    ["CAPTURE_FAILED", "FAILED"],
  ],
  CANCEL: [["VOIDED", "DONE"]],
  REFUND: [
    ["REFUND_FAILED", "FAILED"],
    ["REFUNDED", "DONE"],
  ],
};

/**
 * Settles the requests of a payment, and its refunds, from the set of its entries. A refund that has failed stays so,
 * whatever the gateway reports later: what it has refunded nevertheless counts as refunded, but not as requested.
 * @param responded ids of the requests that the gateway responded to. That ends a cancellation; others end with an entry
 */
export function settleRequests(payment: LedgerPayment, responded: ReadonlySet<string>): Settlement {
  const entryOf = (id: string, type: LedgerEntryType) =>
    payment.entries.find((entry) => entry.type === type && causeOf(entry, payment.entries) === id);
  const requests = payment.requests.map((request): Settled<KnownRequest> => {
    for (const [type, state] of REQUEST_RULES[request.kind]) {
      const entry = entryOf(request.id, type);
      if (entry !== undefined) return { ...request, state, note: state === "FAILED" ? entry.note : "" };
    }
    const isEnded = request.kind === "CANCEL" && isUnfinished(request) && responded.has(request.id);
    return { ...request, ...(isEnded && { state: "DONE" }), note: "" };
  });
  const refunds = payment.refunds.map((refund): Settled<KnownRefund> => {
    const failure = entryOf(refund.id, "REFUND_FAILED");
    if (failure !== undefined) return { ...refund, state: "FAILED", note: failure.note };
    const isRefunded = entryOf(refund.id, "REFUNDED") !== undefined;
    return { ...refund, ...(isRefunded && { state: "SUCCEEDED" }), note: "" };
  });
  return {
    payment: {
      ...payment,
      requests: requests.map(({ note, ...request }) => request),
      refunds: refunds.map(({ note, ...refund }) => refund),
    },
    requests: requests.filter(({ state }, index) => state !== payment.requests[index]?.state),
    refunds: refunds.filter(({ state }, index) => state !== payment.refunds[index]?.state),
  };
}

/** Returns whether the outcome of a request is unknown. */
export function isUnfinished({ state }: KnownRequest): boolean {
  return state === "OPEN" || state === "DEAD";
}

/**
 * Returns the id of the request that has caused an entry; empty if there is none. A gateway may state it with only one of
 * the entries of a refund.
 */
export function causeOf(entry: KnownEntry, entries: readonly KnownEntry[]): string {
  if (entry.requestId !== "") return entry.requestId;
  const isRefund = entry.type === "REFUNDED" || entry.type === "REFUND_FAILED";
  const sibling = entries.find(
    ({ type, reference, requestId }) =>
      isRefund &&
      requestId !== "" &&
      reference === entry.reference &&
      (type === "REFUNDED" || type === "REFUND_FAILED"),
  );
  return sibling?.requestId ?? entry.reference;
}
