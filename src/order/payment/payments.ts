import { runMutation } from "../../infra/postgres/idempotency/run-mutation.ts";
import type { Call } from "../../kernel/call.ts";
import type { Page, PageTokens } from "../../kernel/page.ts";
import { createOrderAccess } from "../guest/order-access.ts";
import type { OrderTokens } from "../guest/order-token.ts";
import {
  type Discrepancy,
  type DiscrepancyListRequest,
  listDiscrepancies,
  resolveDiscrepancy,
} from "../ledger/discrepancies.ts";
import { type LedgerEntry, type LedgerEntryListRequest, listLedgerEntries } from "../ledger/list-entries.ts";
import {
  createGatewayPayments,
  type GatewayPaymentOptions,
  type GatewayPayments,
  withoutPayments,
} from "./gateway-payments.ts";
import { getPayment, listPayments, type PaymentListRequest, type ReadPayment } from "./list-payments.ts";

/** The payments of orders and their ledger. */
export interface Payments extends GatewayPayments {
  /** Public key of the gateway, for the buyer's client; empty for none. */
  readonly publishableKey: string;
  /** Returns a payment. @throws AppError as `getPayment` does */
  get(call: Call, id: string): Promise<ReadPayment>;
  /** Returns a page of payments, newest first. @throws AppError as `listPayments` does */
  list(call: Call, request: PaymentListRequest): Promise<Page<ReadPayment>>;
  /** Returns a page of the ledger, oldest entry first. @throws AppError as `listLedgerEntries` does */
  listEntries(call: Call, request: LedgerEntryListRequest): Promise<Page<LedgerEntry>>;
  /** Returns a page of contradictions, newest first. */
  listDiscrepancies(call: Call, request: DiscrepancyListRequest): Promise<Page<Discrepancy>>;
  /** Records how a discrepancy was resolved. @throws AppError as `resolveDiscrepancy` does */
  resolveDiscrepancy(
    call: Call,
    resolution: { id: string; resolution: string },
    requestId: string,
  ): Promise<Discrepancy>;
}

/** Dependencies of the payments. */
export interface PaymentOptions extends Omit<GatewayPaymentOptions, "gateway" | "orderAccess"> {
  /** Undefined: orders are paid by hand only. */
  gateway: GatewayPaymentOptions["gateway"] | undefined;
  tokens: PageTokens;
  orderTokens: OrderTokens;
}

/** Creates the payments. */
export function createPayments(options: PaymentOptions): Payments {
  const { db, clock, orderTokens, gateway } = options;
  const reads = { ...options, orderAccess: createOrderAccess({ tokens: orderTokens, clock }) };
  return {
    publishableKey: gateway?.publishableKey ?? "",
    ...(gateway === undefined ? withoutPayments : createGatewayPayments({ ...reads, gateway })),
    get: (call, id) => getPayment(reads, call, id),
    list: (call, request) => listPayments(reads, call, request),
    listEntries: (call, request) => listLedgerEntries(options, call, request),
    listDiscrepancies: (call, request) => listDiscrepancies(options, call, request),
    async resolveDiscrepancy(call, request, requestId) {
      const method = "ResolveLedgerDiscrepancy";
      const { result } = await runMutation(db, call, { method, requestId }, request, (tx) =>
        resolveDiscrepancy(options, tx, call, request),
      );
      return result;
    },
  };
}
