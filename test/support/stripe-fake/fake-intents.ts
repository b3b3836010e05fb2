import { type FakeAccount, findIntent } from "./fake-account.ts";
import { type FakeCharge, type FakeIntent, FakeStripeError, invalidRequest } from "./fake-objects.ts";
import { amountParam, assertKnown, type FakeParams, metadataParam, requiredParam } from "./fake-params.ts";
import { openDispute } from "./fake-returns.ts";

const AUTHORIZATION_SECONDS = 7 * 24 * 3_600;
const CONFIRMABLE = ["requires_payment_method", "requires_confirmation", "requires_action"];
const CANCELLABLE = [...CONFIRMABLE, "requires_capture", "processing"];

/** Creates a PaymentIntent, and confirms it if the request says so. */
export function createFakeIntent(account: FakeAccount, params: FakeParams): FakeIntent {
  assertKnown(params, [
    "amount",
    "currency",
    "capture_method",
    "confirm",
    "confirmation_token",
    "payment_method",
    "metadata[*]",
    "automatic_payment_methods[enabled]",
    "automatic_payment_methods[allow_redirects]",
    "payment_method_options[card][request_multicapture]",
  ]);
  const amount = amountParam(params, "amount");
  const id = account.newId("pi");
  const multicapture = params.get("payment_method_options[card][request_multicapture]");
  const intent: FakeIntent = {
    id,
    object: "payment_intent",
    amount,
    amount_capturable: 0,
    amount_received: 0,
    capture_method: params.get("capture_method") ?? "automatic_async",
    client_secret: `${id}_secret_${account.newId("s")}`,
    created: account.now(),
    currency: requiredParam(params, "currency"),
    last_payment_error: null,
    latest_charge: null,
    livemode: false,
    metadata: metadataParam(params),
    next_action: null,
    payment_method: null,
    payment_method_options:
      multicapture === undefined ? {} : { card: { request_multicapture: multicapture } },
    status: "requires_payment_method",
  };
  account.intents.set(id, intent);
  account.emit("payment_intent.created", intent);
  return params.get("confirm") === "true" ? confirm(account, intent, methodOf(params)) : intent;
}

/** Confirms a PaymentIntent, as the service or the buyer's client does. */
export function confirmFakeIntent(account: FakeAccount, id: string, params: FakeParams): FakeIntent {
  assertKnown(params, ["payment_method", "confirmation_token"]);
  const intent = findIntent(account, id);
  assertState(intent, CONFIRMABLE, "confirm");
  return confirm(account, intent, methodOf(params) ?? intent.payment_method ?? undefined);
}

function methodOf(params: FakeParams): string | undefined {
  return params.get("payment_method") ?? params.get("confirmation_token");
}

/** Confirms with one of the methods of Stripe's test mode. Source: https://docs.stripe.com/testing */
function confirm(account: FakeAccount, intent: FakeIntent, method: string | undefined): FakeIntent {
  if (method === undefined) {
    throw invalidRequest(
      "parameter_missing",
      "You cannot confirm this PaymentIntent: it has no payment method.",
    );
  }
  intent.payment_method = method;
  intent.last_payment_error = null;
  if (method.startsWith("pm_card_chargeDeclined")) return decline(account, intent, "card_declined");
  if (method === "pm_card_authenticationRequired") {
    intent.status = "requires_action";
    intent.next_action = { type: "use_stripe_sdk" };
    account.emit("payment_intent.requires_action", intent);
    return intent;
  }
  return succeed(account, intent);
}

/** Ends the second step of the buyer, as Stripe.js does. */
export function authenticateFakeIntent(account: FakeAccount, id: string, succeeds: boolean): FakeIntent {
  const intent = findIntent(account, id);
  assertState(intent, ["requires_action"], "authenticate");
  intent.next_action = null;
  if (succeeds) return succeed(account, intent);
  setFailure(account, intent, { code: "payment_intent_authentication_failure" });
  return intent;
}

function decline(account: FakeAccount, intent: FakeIntent, code: string): never {
  const charge = addCharge(account, intent, "failed");
  setFailure(account, intent, { code, decline_code: "generic_decline", charge: charge.id });
  throw new FakeStripeError(402, {
    type: "card_error",
    code,
    message: "Your card was declined.",
    payment_intent: structuredClone(intent),
  });
}

function setFailure(
  account: FakeAccount,
  intent: FakeIntent,
  failure: { code: string; decline_code?: string; charge?: string },
): void {
  const method = { id: intent.payment_method ?? "", object: "payment_method" as const };
  const message = failure.charge === undefined ? "The second step failed." : "Your card was declined.";
  intent.last_payment_error = { type: "card_error", message, payment_method: method, ...failure };
  intent.payment_method = null;
  intent.status = "requires_payment_method";
  account.emit("payment_intent.payment_failed", intent);
}

function succeed(account: FakeAccount, intent: FakeIntent): FakeIntent {
  addCharge(account, intent, "succeeded");
  if (intent.capture_method === "manual") {
    intent.status = "requires_capture";
    intent.amount_capturable = intent.amount;
    account.emit("payment_intent.amount_capturable_updated", intent);
    return intent;
  }
  receive(account, intent, intent.amount);
  return intent;
}

function addCharge(account: FakeAccount, intent: FakeIntent, status: FakeCharge["status"]): FakeCharge {
  const wantsMulticapture = intent.payment_method_options.card?.request_multicapture === "if_available";
  const isAvailable = wantsMulticapture && account.allowsMulticapture;
  const charge: FakeCharge = {
    id: account.newId("ch"),
    object: "charge",
    amount: intent.amount,
    created: account.now(),
    status,
    payment_intent: intent.id,
    payment_method_details: {
      type: "card",
      card: {
        ...(intent.capture_method === "manual"
          ? { capture_before: account.now() + AUTHORIZATION_SECONDS }
          : {}),
        multicapture: { status: isAvailable ? "available" : "unavailable" },
      },
    },
  };
  account.charges.set(charge.id, charge);
  intent.latest_charge = charge.id;
  return charge;
}

/** Captures a PaymentIntent; what is left of the authorization ends unless the capture is not final. */
export function captureFakeIntent(account: FakeAccount, id: string, params: FakeParams): FakeIntent {
  assertKnown(params, ["amount_to_capture", "final_capture", "metadata[*]"]);
  const intent = findIntent(account, id);
  assertState(intent, ["requires_capture"], "capture");
  const amount = params.has("amount_to_capture")
    ? amountParam(params, "amount_to_capture")
    : intent.amount_capturable;
  if (amount > intent.amount_capturable) {
    throw invalidRequest("amount_too_large", "The amount to capture is greater than what is capturable.");
  }
  const charge = account.charges.get(intent.latest_charge ?? "");
  const isInParts = charge?.payment_method_details.card.multicapture.status === "available";
  if (params.has("final_capture") && !isInParts) {
    throw invalidRequest("parameter_unknown", "final_capture needs multicapture.");
  }
  if (intent.payment_method === "pm_card_captureDeclined") {
    throw new FakeStripeError(402, {
      type: "card_error",
      code: "card_declined",
      message: "The capture was declined.",
    });
  }
  Object.assign(intent.metadata, metadataParam(params));
  const isFinal = params.get("final_capture") !== "false" || amount === intent.amount_capturable;
  if (isFinal) {
    receive(account, intent, amount);
    return intent;
  }
  intent.amount_received += amount;
  intent.amount_capturable -= amount;
  account.emit("payment_intent.amount_capturable_updated", intent);
  return intent;
}

function receive(account: FakeAccount, intent: FakeIntent, amount: number): void {
  intent.amount_received += amount;
  intent.amount_capturable = 0;
  intent.status = "succeeded";
  account.emit("payment_intent.succeeded", intent);
  if (intent.payment_method === "pm_card_createDispute") openDispute(account, intent, intent.amount_received);
}

/** Cancels a PaymentIntent, by the service or because its authorization has ended. */
export function cancelFakeIntent(account: FakeAccount, id: string, params: FakeParams): FakeIntent {
  assertKnown(params, ["cancellation_reason"]);
  const intent = findIntent(account, id);
  assertState(intent, CANCELLABLE, "cancel");
  intent.status = "canceled";
  intent.amount_capturable = 0;
  intent.next_action = null;
  account.emit("payment_intent.canceled", intent);
  return intent;
}

function assertState(intent: FakeIntent, states: readonly string[], action: string): void {
  if (states.includes(intent.status)) return;
  const message = `You cannot ${action} this PaymentIntent because it has a status of ${intent.status}.`;
  throw new FakeStripeError(400, {
    type: "invalid_request_error",
    code: "payment_intent_unexpected_state",
    message,
    payment_intent: structuredClone(intent),
  });
}
