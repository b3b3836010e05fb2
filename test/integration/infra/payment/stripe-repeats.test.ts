import { describe, expect, test } from "vitest";
import { createStripeGateway } from "../../../../src/infra/payment/stripe/stripe-gateway.ts";
import { amountsOf, eur, factsOf, limits } from "../../../support/payments/gateway-under-test.ts";
import { createStripeFixture } from "../../../support/payments/stripe-under-test.ts";
import { findIntent } from "../../../support/stripe-fake/fake-account.ts";
import { authenticateFakeIntent } from "../../../support/stripe-fake/fake-intents.ts";
import { closeDispute, endFakeRefund, openDispute } from "../../../support/stripe-fake/fake-returns.ts";

const { open, authorize } = createStripeFixture();

describe("repeats after Stripe has forgotten the idempotency key", () => {
  test("a refund is not made a second time", async () => {
    const { gateway, fake, capture, refund } = await authorize();
    await gateway.capture(capture, limits());
    const first = await gateway.refund(refund, limits());
    fake.forgetKeys();

    expect(factsOf(await gateway.refund(refund, limits()))).toEqual(factsOf(first));
    expect(fake.account.refunds.size).toBe(1);
  });

  test.each([
    { capturesInParts: false, isFinal: true },
    { capturesInParts: true, isFinal: false },
  ])("a capture is not made a second time ($capturesInParts)", async ({ capturesInParts, isFinal }) => {
    const { gateway, fake, capture, payment } = await authorize({ capturesInParts });
    const part = { ...capture, amount: eur(400n), isFinal };
    const first = await gateway.capture(part, limits());
    fake.forgetKeys();

    expect(factsOf(await gateway.capture(part, limits()))).toEqual(factsOf(first));
    expect(findIntent(fake.account, payment.reference).amount_received).toBe(400);
  });

  test("a payment that was created under another configuration is found", async () => {
    const { gateway, fake, request } = await open();
    const before = await gateway.createIntent(request, limits());
    const changed = createStripeGateway({
      secretKey: fake.secretKey,
      publishableKey: "",
      webhookSecrets: [],
      apiUrl: fake.url,
      capturesInParts: true,
    });

    expect(factsOf(await changed.createIntent(request, limits()))).toEqual(factsOf(before));
    expect(fake.account.intents.size).toBe(1);
  });
});

describe("payments that change outside of the service", () => {
  test("a capture in the dashboard is stated under its charge, and ours fails as a fact", async () => {
    const { gateway, fake, payment, capture } = await authorize();
    const headers = { authorization: `Bearer ${fake.secretKey}` };
    await fetch(`${fake.url}/v1/payment_intents/${payment.reference}/capture`, { method: "POST", headers });
    const report = await gateway.capture(capture, limits());
    const charge = findIntent(fake.account, payment.reference).latest_charge;

    expect(report.facts).toContainEqual(
      expect.objectContaining({ type: "CAPTURED", reference: charge, amount: eur(1_000n) }),
    );
    expect(report.facts).toContainEqual(
      expect.objectContaining({ type: "CAPTURE_FAILED", reference: capture.captureId }),
    );
  });

  test("disputes and refunds of others are stated by fetch", async () => {
    const { gateway, fake, payment, capture } = await authorize();
    await gateway.capture(capture, limits());
    const dispute = openDispute(fake.account, findIntent(fake.account, payment.reference), 700);
    expect(amountsOf(await gateway.fetch(payment, limits()))).toContain("DISPUTED 700");
    closeDispute(fake.account, dispute.id, "lost");

    expect(amountsOf(await gateway.fetch(payment, limits()))).toEqual([
      "AUTHORIZED 1000",
      "CAPTURED 1000",
      "DISPUTED 700",
      "DISPUTE_LOST 700",
    ]);
  });

  test("a pending refund counts until it fails", async () => {
    const { gateway, fake, request, capture } = await open().then(async (one) => {
      const methodToken = "pm_card_pendingRefund";
      const { reference } = await one.gateway.createIntent({ ...one.request, methodToken }, limits());
      const payment = { paymentId: one.request.paymentId, reference };
      const ids = { ...payment, captureId: crypto.randomUUID(), refundId: crypto.randomUUID() };
      return { ...one, capture: { ...ids, amount: eur(1_000n), isFinal: true } };
    });
    await gateway.capture(capture, limits());
    const pending = await gateway.refund(capture, limits());
    const [refund] = fake.account.refunds.keys();
    endFakeRefund(fake.account, refund ?? "", "failed");

    expect(amountsOf(pending)).toEqual(["REFUNDED 1000"]);
    expect(await gateway.refund(capture, limits())).toMatchObject({
      paymentId: request.paymentId,
      facts: [{ type: "REFUND_FAILED", note: "expired_or_canceled_card" }],
    });
  });

  test("a card without several captures is not captured in parts, and wholly it is", async () => {
    const { gateway, fake, request } = await open({ capturesInParts: true });
    fake.account.allowsMulticapture = false;
    const { reference } = await gateway.createIntent(request, limits());
    const payment = { paymentId: request.paymentId, reference };
    const part = { ...payment, captureId: crypto.randomUUID(), amount: eur(400n), isFinal: false };

    await expect(gateway.capture(part, limits())).rejects.toMatchObject({
      kind: "REJECTED",
      code: "single_capture",
    });
    expect(
      amountsOf(await gateway.capture({ ...part, isFinal: true, amount: eur(1_000n) }, limits())),
    ).toEqual(["AUTHORIZED 1000", "CAPTURED 1000"]);
  });

  test("the report of a repeated create states what is true now", async () => {
    const { gateway, fake, request } = await open();
    const second = { ...request, methodToken: "pm_card_authenticationRequired" };
    const first = await gateway.createIntent(second, limits());
    authenticateFakeIntent(fake.account, first.reference, true);
    const again = await gateway.createIntent(second, limits());

    expect(first.step).toBe("ACTION_REQUIRED");
    expect(again.step).toBeUndefined();
    expect(amountsOf(again)).toEqual(["AUTHORIZED 1000"]);
    expect(again.captureBefore).toBeInstanceOf(Date);
  });
});
