import { inspect } from "node:util";
import { pino } from "pino";
import { expect, test } from "vitest";
import { createStripeGateway } from "../../../../src/infra/payment/stripe/stripe-gateway.ts";
import { eur, limits } from "../../../support/payments/gateway-under-test.ts";
import { startStripeFake } from "../../../support/stripe-fake/stripe-fake.ts";

// The fake repeats the whole key in its error, unlike Stripe.
const SECRET_KEY = "sk_live_plantedSecretKey1234567890";
const WEBHOOK_SECRET = "whsec_plantedWebhookSecret1234567890";

function logged(value: unknown): string {
  const lines: string[] = [];
  pino({}, { write: (line: string) => void lines.push(line) }).error({ err: value, value }, "Call failed");
  return lines.join("") + inspect(value, { depth: 20, showHidden: true }) + JSON.stringify(value);
}

async function failuresOf(apiUrl: string) {
  const gateway = createStripeGateway({
    secretKey: SECRET_KEY,
    publishableKey: "pk_live_public",
    webhookSecrets: [WEBHOOK_SECRET],
    apiUrl,
    capturesInParts: false,
  });
  const ids = { paymentId: crypto.randomUUID(), reference: "pi_1", orderId: crypto.randomUUID() };
  const request = { ...ids, amount: eur(1_000n), capture: "AT_ORDER" as const, methodToken: "pm_card_visa" };
  const outcomes = await Promise.allSettled([
    gateway.createIntent(request, limits()),
    gateway.fetch(ids, limits()),
    gateway.fetch(ids, { signal: AbortSignal.abort(), timeoutMs: 1_000 }),
    gateway.refund({ ...request, refundId: crypto.randomUUID() }, limits()),
  ]);
  const errors: unknown[] = outcomes.map((one) => (one.status === "rejected" ? one.reason : undefined));
  return { gateway, errors };
}

test("no key is in errors or logs when Stripe rejects the key and repeats it in its message", async () => {
  const fake = await startStripeFake({ secretKey: "sk_live_another" });
  const { errors } = await failuresOf(fake.url);
  const texts = errors.map(logged);

  expect(fake.requests).toEqual([]);
  expect(texts).toHaveLength(4);
  for (const text of texts) {
    expect(text).toContain("GatewayError");
    expect(text).not.toContain(SECRET_KEY);
    expect(text).not.toContain("planted");
  }
  expect(texts[0]).toContain("Invalid API Key provided: Bearer [secret]");
  await fake.close();
});

test("no key is in errors or logs when Stripe cannot be reached", async () => {
  const { errors } = await failuresOf("http://127.0.0.1:1");

  for (const text of errors.map(logged)) {
    expect(text).toContain("GatewayError");
    expect(text).not.toContain("planted");
  }
});

test("a printed gateway shows neither the key nor the secret of the webhook", async () => {
  const fake = await startStripeFake({ secretKey: SECRET_KEY, webhookSecret: WEBHOOK_SECRET });
  const { gateway } = await failuresOf(fake.url);

  expect(fake.requests.length).toBeGreaterThan(0);
  expect(logged(gateway)).not.toContain("planted");
  await fake.close();
});
