import { expect } from "vitest";
import type { Order } from "../../../gen/cartwright/order/v1/order_pb.ts";
import type { GatewayReport } from "../../../src/infra/payment/payment-gateway.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import {
  createReconciliation,
  type ReconciliationOptions,
  type ReconciliationResult,
} from "../../../src/order/payment/reconcile/reconciliation.ts";
import { openExpiryWorker } from "../orders/expiry-worker.ts";
import { placeOrder } from "../orders/order-fixtures.ts";
import { type LogLine, recordingLog } from "../rpc/rpc-server.ts";
import { startShop, type TestShop } from "../shop.ts";
import {
  factOf,
  insertPayment,
  type LedgerReplica,
  openLedger,
  type TestPayment,
} from "./ledger-fixtures.ts";
import { createScriptedGateway, type GatewayScript } from "./scripted-gateway.ts";

/** The payment of a row. */
export interface PaymentState {
  state: string;
  /** Why the gateway is queried; null if it is not. */
  reason: string | null;
  checks: number;
  /** Time until it is queried, in milliseconds. */
  due_ms: number | null;
  open: boolean;
}

/** A shop and the parts of a worker that reconciles its payments. */
export interface ReconciledShop {
  shop: TestShop;
  ledger: LedgerReplica;
  /** Opens a reconciliation with a gateway that responds as the test defines, and a clock that is ahead by some time. */
  open(
    script: GatewayScript,
    options?: Partial<ReconciliationOptions>,
  ): Promise<{ run(): Promise<ReconciliationResult>; time: { aheadMs: number }; lines: LogLine[] }>;
  /** Places an order of two units at EUR 10.00 with a payment that is in doubt. */
  placeDoubtful(
    fixture?: Parameters<typeof insertPayment>[2],
  ): Promise<{ order: Order; payment: TestPayment }>;
  paymentOf(payment: Pick<TestPayment, "id">): Promise<PaymentState>;
  discrepanciesOf(orderId: string): Promise<{ kind: string; reference: string }[]>;
  stateOf(order: Pick<Order, "id">): Promise<{ payment: string; closing: string } | undefined>;
  /** Ends the checks of all payments. */
  endChecks(): Promise<unknown>;
  close(): Promise<void>;
}

/** Starts a shop without a worker. */
export async function startReconciledShop(): Promise<ReconciledShop> {
  const shop = await startShop({ WORKERS: "0" });
  const ledger = await openLedger(shop.database);
  return {
    shop,
    ledger,
    async open(script, options = {}) {
      const { orders } = await openExpiryWorker(shop.database.url);
      const time = { aheadMs: 0 };
      const lines: LogLine[] = [];
      const reconciliation = createReconciliation({
        ...ledger.options,
        db: ledger.db,
        clock: { now: () => new Date(systemClock.now().getTime() + time.aheadMs) },
        gateway: createScriptedGateway(script),
        timeoutMs: 8_000,
        log: recordingLog(lines),
        reports: ledger.writer,
        getOrder: (call, id) => orders.get(call, id),
        cancelOrder: (call, cancellation, requestId) => orders.cancel(call, cancellation, requestId),
        ...options,
      });
      return { run: () => reconciliation.run(internalCall()), time, lines };
    },
    async placeDoubtful(fixture = {}) {
      const order = await placeOrder(shop, [2n]);
      return { order, payment: await insertPayment(shop.database, order.id, fixture) };
    },
    async paymentOf({ id }) {
      const [row] = await shop.database.query<PaymentState>(
        `select state, check_reason as reason, checks, is_open as open,
           extract(epoch from check_at - now())::float8 * 1000 as due_ms
         from payment where id = $1`,
        [id],
      );
      if (row === undefined) return expect.fail("no payment");
      return row;
    },
    discrepanciesOf: (orderId) =>
      shop.database.query("select kind, reference from payment_discrepancy where order_id = $1", [orderId]),
    async stateOf({ id }) {
      const [row] = await shop.database.query<{ payment: string; closing: string }>(
        "select payment_state as payment, closing from orders where id = $1",
        [id],
      );
      return row;
    },
    endChecks: () => shop.database.query("update payment set check_at = null, check_reason = null"),
    async close() {
      await ledger.close();
      await shop.close();
    },
  };
}

/** Returns a report with an authorization of a payment. */
export const authorized = (payment: TestPayment): GatewayReport => ({
  paymentId: payment.id,
  reference: payment.reference,
  facts: [factOf(payment, "AUTHORIZED")],
});
