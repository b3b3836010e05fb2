import { catalogChecks } from "./catalog-checks.ts";
import type { Check } from "./check.ts";
import { historyChecks } from "./history-checks.ts";
import { jobChecks } from "./job-checks.ts";
import { orderChecks } from "./order-checks.ts";
import { paymentChecks } from "./payment/payment-checks.ts";
import { purchaseChecks } from "./purchase-checks.ts";
import { referenceChecks } from "./reference-checks.ts";
import { requestChecks } from "./request-checks.ts";
import { sessionChecks } from "./session-checks.ts";
import { stockChecks } from "./stock-checks.ts";

/** All checks, in the order of their invariants. */
export const checks: readonly Check[] = [
  ...stockChecks,
  ...orderChecks,
  ...historyChecks,
  ...requestChecks,
  ...paymentChecks,
  ...purchaseChecks,
  ...referenceChecks,
  ...jobChecks,
  ...sessionChecks,
  ...catalogChecks,
].sort((a, b) => a.invariant.localeCompare(b.invariant) || a.name.localeCompare(b.name));
