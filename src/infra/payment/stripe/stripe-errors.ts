import Stripe from "stripe";
import { AppError } from "../../../kernel/errors.ts";
import { GatewayError, type GatewayErrorKind } from "../payment-gateway.ts";

const MAX_MESSAGE_LENGTH = 500;
/** Keys, secrets of webhooks, and secrets of clients. Source: https://docs.stripe.com/keys */
const SECRETS = /\b(?:sk|rk|whsec)_[\w*]+|\b(?:pi|seti)_\w+_secret_\w+/g;

/**
 * Returns the error as one of a gateway. It keeps neither the cause nor its headers and bodies, which contain secrets.
 * @param secretKey is removed from the message
 */
export function toGatewayError(error: unknown, secretKey: string): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof AppError) {
    return new GatewayError("REJECTED", error.message, { code: error.details?.reason ?? "" });
  }
  if (!(error instanceof Stripe.errors.StripeError)) {
    return new GatewayError(
      "UNKNOWN",
      redact(`Stripe's response cannot be read: ${textOf(error)}`, secretKey),
    );
  }
  const kind = kindOf(error);
  const prefix = kind === "REJECTED" ? "Stripe rejected the request" : "The outcome at Stripe is not known";
  const request = error.requestId ? ` (request ${error.requestId})` : "";
  return new GatewayError(kind, redact(`${prefix}: ${error.message}${request}`, secretKey), {
    code: redact(error.code ?? error.type, secretKey),
  });
}

/**
 * Returns REJECTED for errors after which Stripe has done nothing and never will. A rejected key is a mistake of the
 * operator, after whose correction the call succeeds; a used idempotency key means that another request has or had it.
 * Source: https://docs.stripe.com/error-handling
 */
function kindOf(error: Stripe.errors.StripeError): GatewayErrorKind {
  const { StripeInvalidRequestError, StripeCardError } = Stripe.errors;
  const isDefinite = error instanceof StripeInvalidRequestError || error instanceof StripeCardError;
  return isDefinite && error.statusCode !== 409 ? "REJECTED" : "UNKNOWN";
}

function redact(text: string, secretKey: string): string {
  return text.replaceAll(secretKey, "[secret]").replace(SECRETS, "[secret]").slice(0, MAX_MESSAGE_LENGTH);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
