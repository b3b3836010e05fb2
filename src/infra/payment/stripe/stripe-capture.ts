import Stripe from "stripe";
import type { Money } from "../../../kernel/money.ts";
import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type PaymentReference,
  SINGLE_CAPTURE,
} from "../payment-gateway.ts";
import { chargeOf, reportIntent } from "./intent-report.ts";
import { EXPAND, isRepeatedError, isStateError, readIntent, retrieveIntent } from "./intent-responses.ts";
import { toStripeAmount } from "./stripe-amount.ts";
import type { StripeClient } from "./stripe-client.ts";
import { METADATA, type StripeIntent } from "./stripe-objects.ts";

/** Captures an amount. Without captures in parts the rest of the authorization ends. */
export function captureIntent(
  client: StripeClient,
  { capturesInParts }: { capturesInParts: boolean },
  request: PaymentReference & { captureId: string; amount: Money; isFinal: boolean },
  call: GatewayCall,
): Promise<GatewayReport> {
  const { reference, captureId, amount, isFinal } = request;
  return client.run(call, async (stripe) => {
    const requested = toStripeAmount(amount);
    const params: Stripe.PaymentIntentCaptureParams = {
      amount_to_capture: requested,
      metadata: { [METADATA.capture]: captureId, [METADATA.captureAmount]: String(requested) },
      expand: EXPAND,
    };
    if (capturesInParts) {
      const current = await retrieveIntent(stripe, request);
      // Stripe forgets idempotency keys after 24 hours, after which a repeat would capture a second time.
      if (isCapturedBy(current, captureId)) return reportIntent(current);
      if (isMulticaptureAvailable(current)) params.final_capture = isFinal;
      else if (!isFinal) throw notInParts();
    }
    try {
      const captured = await stripe.paymentIntents.capture(reference, params, {
        idempotencyKey: `capture:${captureId}`,
      });
      return reportIntent(readIntent(captured, request));
    } catch (error) {
      const isDefinite = isStateError(error) || error instanceof Stripe.errors.StripeCardError;
      if (!isDefinite && !isRepeatedError(error)) throw error;
      const current = await retrieveIntent(stripe, request);
      if (isCapturedBy(current, captureId)) return reportIntent(current);
      if (!isDefinite) throw error;
      return reportFailure(current, { captureId, amount, error });
    }
  });
}

/** Returns the state of the payment and that the capture failed. */
function reportFailure(
  intent: StripeIntent,
  { captureId, amount, error }: { captureId: string; amount: Money; error: Stripe.errors.StripeError },
): GatewayReport {
  const report = reportIntent(intent);
  const note = `${error.code ?? "capture_failed"}: ${error.message}`.slice(0, 500);
  return {
    ...report,
    facts: [
      ...report.facts,
      { type: "CAPTURE_FAILED", reference: captureId, requestId: captureId, amount, note },
    ],
  };
}

function isCapturedBy({ amount_received: received, metadata }: StripeIntent, captureId: string): boolean {
  return received > 0 && metadata?.[METADATA.capture] === captureId;
}

function isMulticaptureAvailable(intent: StripeIntent): boolean {
  return chargeOf(intent)?.payment_method_details?.card?.multicapture?.status === "available";
}

/** Cards decide whether they allow several captures. A final capture would release the money of later shipments. */
function notInParts(): GatewayError {
  return new GatewayError(
    "REJECTED",
    "The card does not allow several captures. Capture the whole amount that is due.",
    { code: SINGLE_CAPTURE },
  );
}
