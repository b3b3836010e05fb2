import type { PaymentGateway } from "../payment-gateway.ts";
import { verifyWebhookSignature } from "../webhook-signature.ts";
import { toStripeAmount } from "./stripe-amount.ts";
import { captureIntent } from "./stripe-capture.ts";
import { createStripeClient } from "./stripe-client.ts";
import { cancelIntent, confirmIntent, createIntent } from "./stripe-intents.ts";
import { fetchIntent, refundIntent } from "./stripe-refund.ts";
import { readStripeEvent } from "./stripe-webhook.ts";

/** The access to Stripe. */
export interface StripeOptions {
  secretKey: string;
  /** Public key for the buyer's client; empty for none. */
  publishableKey: string;
  /** Secrets of the webhook, newest first; several while they are rotated. */
  webhookSecrets: readonly string[];
  /** Address of the API; undefined for Stripe's own. */
  apiUrl: string | undefined;
  /** Whether the account can capture a payment several times. */
  capturesInParts: boolean;
}

/** Creates the gateway of Stripe. The returned object does not show the secrets when it is printed. */
export function createStripeGateway(options: StripeOptions): PaymentGateway {
  const client = createStripeClient(options);
  const { capturesInParts, publishableKey, webhookSecrets } = options;
  return {
    name: "stripe",
    capturesInParts,
    publishableKey,
    assertChargeable: (amount) => void toStripeAmount(amount),
    createIntent: (request, call) => createIntent(client, { capturesInParts }, request, call),
    confirm: (request, call) => confirmIntent(client, request, call),
    capture: (request, call) => captureIntent(client, { capturesInParts }, request, call),
    cancel: (request, call) => cancelIntent(client, request, call),
    refund: (request, call) => refundIntent(client, request, call),
    fetch: (request, call) => fetchIntent(client, request, call),
    verifyWebhook({ headers, body, now }) {
      const header = headers.get("stripe-signature");
      verifyWebhookSignature({ header, body, secrets: webhookSecrets, now });
      return readStripeEvent(body);
    },
    readWebhook: readStripeEvent,
  };
}
