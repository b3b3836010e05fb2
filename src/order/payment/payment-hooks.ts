import type { PaymentHooks } from "../change/payment-hooks.ts";
import { releaseExcess } from "../ledger/release/release-excess.ts";
import type { ReleaseOptions } from "../ledger/release/write-releases.ts";
import { assertCapturable, type CaptureOptions, requestCaptures } from "./request/request-captures.ts";

/** Creates what the payments of orders do in the transactions that change the orders. */
export function createPaymentHooks(options: ReleaseOptions & CaptureOptions): PaymentHooks {
  return {
    assertCapturable,
    requestCapture: (tx, order, now) => requestCaptures(options, tx, order, now),
    releaseExcess: (tx, call, orders) => releaseExcess(options, tx, call, orders),
  };
}
