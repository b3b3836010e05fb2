import type { LedgerFact } from "../../../src/infra/payment/payment-gateway.ts";
import type { AppliedReport } from "../../../src/order/ledger/report/report.ts";
import { placeOrder } from "../orders/order-fixtures.ts";
import { type LogLine, recordingLog } from "../rpc/rpc-server.ts";
import { startShop, type TestShop } from "../shop.ts";
import {
  insertPayment,
  type LedgerReplica,
  openLedger,
  type PaymentFixture,
  type TestPayment,
  webhookOf,
} from "./ledger-fixtures.ts";
import { createLedgerReads, type LedgerReads } from "./ledger-reads.ts";

/** A shop, and a writer of the reports about its payments. */
export interface LedgerShop extends TestShop {
  ledger: LedgerReplica;
  stored: LedgerReads;
  /** What the writer has logged. */
  lines: LogLine[];
  /** Places an order of EUR 20.00 with a payment. */
  placePayment(fixture?: PaymentFixture): Promise<TestPayment>;
  /** Applies a webhook with facts about a payment. */
  applyFacts(payment: TestPayment, ...facts: LedgerFact[]): Promise<AppliedReport>;
}

/** Starts a shop without a gateway, and opens a writer of reports. */
export async function startLedgerShop(): Promise<LedgerShop> {
  const shop = await startShop();
  const lines: LogLine[] = [];
  const ledger = await openLedger(shop.database, recordingLog(lines));
  return {
    ...shop,
    ledger,
    stored: createLedgerReads(shop.database),
    lines,
    async placePayment(fixture) {
      const { id } = await placeOrder(shop, [2n]);
      return insertPayment(shop.database, id, fixture);
    },
    applyFacts: (payment, ...facts) => ledger.writer.apply(webhookOf(payment, facts)),
    async close() {
      await ledger.close();
      await shop.close();
    },
  };
}
