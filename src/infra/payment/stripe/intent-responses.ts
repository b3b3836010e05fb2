import Stripe from "stripe";
import { GatewayError, type GatewayReport, type PaymentReference } from "../payment-gateway.ts";
import { reportIntent } from "./intent-report.ts";
import { METADATA, paymentIntentSchema, type StripeIntent } from "./stripe-objects.ts";

/** Contains the end of an authorization, and whether a payment can be captured several times. */
export const EXPAND = ["latest_charge"];

type IntentResponse = Stripe.Response<Stripe.PaymentIntent>;

/** @throws GatewayError CONTRADICTION when Stripe returns another payment */
export async function retrieveIntent(stripe: Stripe, request: PaymentReference): Promise<StripeIntent> {
  const intent = await stripe.paymentIntents.retrieve(request.reference, { expand: EXPAND });
  return readIntent(intent, request);
}

/**
 * Returns the PaymentIntent of a payment whose reference is unknown; undefined if there is none. Stripe finds it some
 * seconds after its creation. Should there be several, one with money is returned.
 */
export async function searchIntent(stripe: Stripe, paymentId: string): Promise<StripeIntent | undefined> {
  if (!/^[\w-]{1,100}$/.test(paymentId))
    throw new RangeError("The id of the payment is not valid in a search.");
  const { data } = await stripe.paymentIntents.search({
    query: `metadata['${METADATA.payment}']:'${paymentId}'`,
    limit: 10,
    expand: EXPAND.map((path) => `data.${path}`),
  });
  const intents = data.map((intent) => readIntent(intent, { paymentId, reference: "" }));
  const hasMoney = ({ status }: StripeIntent) => status === "succeeded" || status === "requires_capture";
  return intents.find(hasMoney) ?? intents[0];
}

/**
 * Returns a PaymentIntent of a response.
 * @param expected its payment; the reference is empty if it is unknown
 * @throws GatewayError CONTRADICTION when it is of another payment
 */
export function readIntent(value: unknown, { paymentId, reference }: PaymentReference): StripeIntent {
  const intent = paymentIntentSchema.parse(value);
  const named = intent.metadata?.[METADATA.payment];
  if (named !== paymentId || (reference !== "" && intent.id !== reference)) {
    throw new GatewayError(
      "CONTRADICTION",
      `Stripe returned ${intent.id} of payment ${named ?? "(none)"} for payment ${paymentId}.`,
    );
  }
  return intent;
}

/** Returns whether a request failed because of the state of the PaymentIntent. Source: https://docs.stripe.com/error-codes */
export function isStateError(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof Stripe.errors.StripeError && STATE_CODES.has(error.code ?? "");
}

const STATE_CODES: ReadonlySet<string> = new Set([
  "payment_intent_unexpected_state",
  "intent_invalid_state",
  "charge_already_captured",
  "charge_expired_for_capture",
  "capture_charge_authorization_expired",
  "capture_unauthorized_payment",
]);

/**
 * Returns whether Stripe repeats the error (5xx) of a former request with the same key, which may have done the work.
 * Repeating it once more does not help: only the state of the payment tells.
 */
export function isRepeatedError(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof Stripe.errors.StripeAPIError && isReplayed(error.headers ?? {});
}

/**
 * Returns the report of a request; the state if it does not allow the request, or shows that a former one has done it.
 * @param open statuses in which the request has not been done
 */
export async function reportDespiteState(
  stripe: Stripe,
  expected: PaymentReference,
  open: readonly string[],
  request: () => Promise<IntentResponse>,
): Promise<GatewayReport> {
  try {
    return await reportLatest(stripe, expected, request);
  } catch (error) {
    if (!isStateError(error) && !isRepeatedError(error)) throw error;
    const intent = await retrieveIntent(stripe, expected);
    if (isRepeatedError(error) && open.includes(intent.status)) throw error;
    return reportIntent(intent);
  }
}

/**
 * Returns the report of a request. A decline is an error of Stripe with the intent in it. A repeated response states what
 * was true at the first time, so the intent is then retrieved.
 */
export async function reportLatest(
  stripe: Stripe,
  expected: PaymentReference,
  request: () => Promise<IntentResponse>,
): Promise<GatewayReport> {
  const { value, headers } = await request().then(
    (response) => ({ value: Object(response), headers: response.lastResponse.headers }),
    (error: unknown) => {
      if (!(error instanceof Stripe.errors.StripeCardError) || !error.payment_intent) throw error;
      return { value: Object(error.payment_intent), headers: error.headers ?? {} };
    },
  );
  const intent = readIntent(value, expected);
  if (!isReplayed(headers)) return reportIntent(intent);
  return reportIntent(await retrieveIntent(stripe, { ...expected, reference: intent.id }));
}

/** @param headers a record, or the headers of a response of `fetch`, unlike what the types of the package say */
function isReplayed(headers: Record<string, string>): boolean {
  return new Headers(headers).get("idempotent-replayed") === "true";
}
