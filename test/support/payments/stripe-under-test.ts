import { createStripeGateway } from "../../../src/infra/payment/stripe/stripe-gateway.ts";
import { authenticateFakeIntent } from "../stripe-fake/fake-intents.ts";
import { type StripeFake, startStripeFake } from "../stripe-fake/stripe-fake.ts";
import { type GatewayUnderTest, limits } from "./gateway-under-test.ts";

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
