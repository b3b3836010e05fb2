import { afterEach } from "vitest";
import { createStripeGateway } from "../../../src/infra/payment/stripe/stripe-gateway.ts";
import { authenticateFakeIntent } from "../stripe-fake/fake-intents.ts";
import { type StripeFake, startStripeFake } from "../stripe-fake/stripe-fake.ts";
import { eur, type GatewayUnderTest, limits } from "./gateway-under-test.ts";

/** The gateway of Stripe over the fake. */
export interface StripeUnderTest extends GatewayUnderTest {
  fake: StripeFake;
}

/** @param mockUrl address of stripe-mock, which then checks all requests */
export async function startStripe({
  capturesInParts = false,
  mockUrl,
}: {
  capturesInParts?: boolean;
  mockUrl?: string | undefined;
} = {}): Promise<StripeUnderTest> {
  const fake = await startStripeFake({ mockUrl });
  const gateway = createStripeGateway({
    secretKey: fake.secretKey,
    publishableKey: "pk_test_fake",
    webhookSecrets: [fake.webhookSecret],
    apiUrl: fake.url,
    capturesInParts,
  });
  return {
    gateway,
    fake,
    tokens: {
      ok: "pm_card_visa",
      declined: "pm_card_chargeDeclined",
      secondStep: "pm_card_authenticationRequired",
      captureDeclined: "pm_card_captureDeclined",
      refundFailed: "pm_card_refundFail",
    },
    async takeSecondStep(payment, succeeds) {
      authenticateFakeIntent(fake.account, payment.reference, succeeds);
      const confirm = { ...payment, requestId: crypto.randomUUID(), methodToken: "" };
      return gateway.confirm(confirm, limits());
    },
    sentWebhooks: async () => fake.account.events.map((event) => fake.webhookOf(event)),
    close: () => fake.close(),
  };
}

/** Starts Stripe for tests of its own behavior, and stops it after each test. */
export function createStripeFixture() {
  const started: StripeUnderTest[] = [];
  afterEach(async () => {
    for (const one of started.splice(0)) await one.close();
  });

  async function open(options: { capturesInParts?: boolean } = {}) {
    const one = await startStripe(options);
    started.push(one);
    const request = {
      paymentId: crypto.randomUUID(),
      orderId: crypto.randomUUID(),
      amount: eur(1_000n),
      capture: "AT_SHIPMENT" as const,
      methodToken: "pm_card_visa",
    };
    return { ...one, request };
  }

  /** Creates an authorized payment, and requests for it. */
  async function authorize(options: { capturesInParts?: boolean } = {}) {
    const one = await open(options);
    const report = await one.gateway.createIntent(one.request, limits());
    const payment = { paymentId: one.request.paymentId, reference: report.reference };
    const capture = { ...payment, captureId: crypto.randomUUID(), amount: eur(1_000n), isFinal: true };
    const refund = { ...payment, refundId: crypto.randomUUID(), amount: eur(300n) };
    return { ...one, payment, capture, refund };
  }
  return { open, authorize };
}
