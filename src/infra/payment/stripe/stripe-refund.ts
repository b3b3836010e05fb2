import Stripe from "stripe";
import type { Money } from "../../../kernel/money.ts";
import {
  type GatewayCall,
  GatewayError,
  type GatewayReport,
  type PaymentReference,
} from "../payment-gateway.ts";
import { reportIntent } from "./intent-report.ts";
import { retrieveIntent, searchIntent } from "./intent-responses.ts";
import { disputeFacts, hasFailed, refundFact } from "./return-facts.ts";
import { fromStripeAmount, toStripeAmount } from "./stripe-amount.ts";
import type { StripeClient } from "./stripe-client.ts";
import {
  disputeSchema,
  METADATA,
  refundSchema,
  type StripeIntent,
  type StripeRefund,
} from "./stripe-objects.ts";

const PAGE_SIZE = 100;
/** Refunds, or disputes, of one payment that are read. */
const MAX_LISTED = 1_000;

/** Refunds an amount. A refund that Stripe lists already is returned. */
export function refundIntent(
  client: StripeClient,
  request: PaymentReference & { refundId: string; amount: Money },
  call: GatewayCall,
): Promise<GatewayReport> {
  const { reference, paymentId, refundId, amount } = request;
  return client.run(call, async (stripe) => {
    const units = toStripeAmount(amount);
    // Stripe forgets idempotency keys after 24 hours, after which a repeat would refund a second time.
    const listed = await listRefunds(stripe, reference);
    const existing = listed.find(({ metadata }) => metadata?.[METADATA.refund] === refundId);
    const refund = existing ?? (await createRefund(stripe, { ...request, units }));
    if (refund.payment_intent !== reference || refund.metadata?.[METADATA.refund] !== refundId) {
      throw new GatewayError(
        "CONTRADICTION",
        `Stripe returned ${refund.id} of ${refund.payment_intent ?? "(none)"} for refund ${refundId}.`,
      );
    }
    return { paymentId, reference, facts: [refundFact(refund)] };
  });
}

async function createRefund(
  stripe: Stripe,
  { reference, paymentId, refundId, units }: PaymentReference & { refundId: string; units: number },
): Promise<StripeRefund> {
  const refund = await stripe.refunds.create(
    {
      payment_intent: reference,
      amount: units,
      metadata: { [METADATA.payment]: paymentId, [METADATA.refund]: refundId },
    },
    { idempotencyKey: `refund:${refundId}` },
  );
  return refundSchema.parse(refund);
}

/** Returns all that Stripe states about a payment: the PaymentIntent, its refunds and its disputes. */
export function fetchIntent(
  client: StripeClient,
  request: PaymentReference,
  call: GatewayCall,
): Promise<GatewayReport | undefined> {
  return client.run(call, async (stripe) => {
    const { paymentId, reference } = request;
    const intent =
      reference === "" ? await searchIntent(stripe, paymentId) : await findIntent(stripe, request);
    if (intent === undefined) return undefined;
    const [refunds, disputes] = await Promise.all([
      listRefunds(stripe, intent.id),
      listDisputes(stripe, intent.id),
    ]);
    const report = reportIntent(intent);
    const refunded = refunds
      .filter((refund) => !hasFailed(refund))
      .reduce((sum, { amount }) => sum + amount, 0);
    const unitsOf = (amount: number) => fromStripeAmount(amount, intent.currency).minorUnits;
    return {
      ...report,
      facts: [...report.facts, ...refunds.map(refundFact), ...disputes.flatMap(disputeFacts)],
      totals: { captured: unitsOf(intent.amount_received), refunded: unitsOf(refunded) },
    };
  });
}

/** Returns a PaymentIntent; undefined if Stripe does not have it. */
async function findIntent(stripe: Stripe, request: PaymentReference): Promise<StripeIntent | undefined> {
  try {
    return await retrieveIntent(stripe, request);
  } catch (error) {
    if (error instanceof Stripe.errors.StripeError && error.code === "resource_missing") return undefined;
    throw error;
  }
}

async function listRefunds(stripe: Stripe, intent: string): Promise<StripeRefund[]> {
  const refunds = await stripe.refunds
    .list({ payment_intent: intent, limit: PAGE_SIZE })
    .autoPagingToArray({ limit: MAX_LISTED });
  return refunds.map((refund) => sameIntent(refundSchema.parse(refund), intent));
}

async function listDisputes(stripe: Stripe, intent: string) {
  const disputes = await stripe.disputes
    .list({ payment_intent: intent, limit: PAGE_SIZE })
    .autoPagingToArray({ limit: MAX_LISTED });
  return disputes.map((dispute) => sameIntent(disputeSchema.parse(dispute), intent));
}

function sameIntent<Listed extends { id: string; payment_intent?: string | null | undefined }>(
  listed: Listed,
  intent: string,
): Listed {
  if (listed.payment_intent === intent) return listed;
  throw new GatewayError("CONTRADICTION", `Stripe listed ${listed.id} of another payment for ${intent}.`);
}
