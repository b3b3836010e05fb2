import { afterEach, describe, expect, test } from "vitest";
import { GatewayError } from "../../../../src/infra/payment/payment-gateway.ts";
import { createStripeGateway } from "../../../../src/infra/payment/stripe/stripe-gateway.ts";
import { amountsOf, eur, factsOf, limits } from "../../../support/payments/gateway-under-test.ts";
import { type StripeUnderTest, startStripe } from "../../../support/payments/stripe-under-test.ts";
import { findIntent } from "../../../support/stripe-fake/fake-account.ts";
import type { FakeFault } from "../../../support/stripe-fake/fake-faults.ts";
import { authenticateFakeIntent } from "../../../support/stripe-fake/fake-intents.ts";
import { closeDispute, endFakeRefund, openDispute } from "../../../support/stripe-fake/fake-returns.ts";

const started: StripeUnderTest[] = [];
afterEach(async () => {
  for (const one of started.splice(0)) await one.close();
});

async function open(options: { capturesInParts?: boolean } = {}) {
  const one = await startStripe(options);
  started.push(one);
  const paymentId = crypto.randomUUID();
  const request = {
    paymentId,
    orderId: crypto.randomUUID(),
    amount: eur(1_000n),
    capture: "AT_SHIPMENT" as const,
    methodToken: "pm_card_visa",
  };
  return { ...one, request };
}

async function authorize(options: { capturesInParts?: boolean } = {}) {
  const one = await open(options);
  const report = await one.gateway.createIntent(one.request, limits());
  const payment = { paymentId: one.request.paymentId, reference: report.reference };
  const capture = { ...payment, captureId: crypto.randomUUID(), amount: eur(1_000n), isFinal: true };
  const refund = { ...payment, refundId: crypto.randomUUID(), amount: eur(300n) };
  return { ...one, payment, capture, refund };
}

describe("failed calls of Stripe", () => {
  const unknown: FakeFault[] = [
    "error_after",
    "unavailable",
    "disconnect_after",
    "key_in_use",
    "rate_limited",
    "invalid_json",
    "oversized",
  ];
  test.each(unknown)(
    "%s: the outcome of a create is unknown, and a repeat creates one payment",
    async (fault) => {
      const { gateway, fake, request } = await open();
      fake.failNext("create", fault);

      await expect(gateway.createIntent(request, limits())).rejects.toMatchObject({
        name: "GatewayError",
        kind: "UNKNOWN",
      });
      const report = await gateway.createIntent(request, limits());
      expect(amountsOf(report)).toEqual(["AUTHORIZED 1000"]);
      expect(fake.account.intents.size).toBe(1);
      expect(
        fake.requests.filter(({ operation }) => operation === "create").map((one) => one.idempotencyKey),
      ).toEqual([`create:${request.paymentId}`, `create:${request.paymentId}`]);
    },
  );

  test.each(unknown)("%s: the outcome of a capture is unknown, and a repeat captures once", async (fault) => {
    const { gateway, fake, capture, payment } = await authorize();
    fake.failNext("capture", fault);

    await expect(gateway.capture(capture, limits())).rejects.toMatchObject({ kind: "UNKNOWN" });
    const report = await gateway.capture(capture, limits());
    expect(amountsOf(report)).toEqual(["AUTHORIZED 1000", "CAPTURED 1000"]);
    expect(findIntent(fake.account, payment.reference).amount_received).toBe(1_000);
  });

  test.each(unknown)("%s: the outcome of a refund is unknown, and a repeat refunds once", async (fault) => {
    const { gateway, fake, capture, refund } = await authorize();
    await gateway.capture(capture, limits());
    fake.failNext("refund", fault);

    await expect(gateway.refund(refund, limits())).rejects.toMatchObject({ kind: "UNKNOWN" });
    const report = await gateway.refund(refund, limits());
    expect(amountsOf(report)).toEqual(["REFUNDED 300"]);
    expect(fake.account.refunds.size).toBe(1);
  });

  test.each(unknown)("%s: the outcome of a cancel is unknown, and a repeat cancels", async (fault) => {
    const { gateway, fake, payment } = await authorize();
    const cancel = { ...payment, cancelId: crypto.randomUUID() };
    fake.failNext("cancel", fault);

    await expect(gateway.cancel(cancel, limits())).rejects.toMatchObject({ kind: "UNKNOWN" });
    expect(amountsOf(await gateway.cancel(cancel, limits()))).toEqual(["AUTHORIZED 1000", "VOIDED 1000"]);
  });

  test("a call without a response ends at its time limit", async () => {
    const { gateway, fake, request } = await open();
    fake.failNext("create", "no_response");
    const call = gateway.createIntent(request, { signal: new AbortController().signal, timeoutMs: 200 });

    await expect(call).rejects.toMatchObject({ kind: "UNKNOWN", code: "timeout" });
    expect(fake.account.intents.size).toBe(1);
  });

  test("a call without a response ends when it is aborted", async () => {
    const { gateway, fake, request } = await open();
    fake.failNext("create", "no_response");
    const controller = new AbortController();
    const call = gateway.createIntent(request, { signal: controller.signal, timeoutMs: 60_000 });
    const outcome = expect(call).rejects.toMatchObject({ kind: "UNKNOWN" });
    await expect.poll(() => fake.requests.length).toBe(1);
    controller.abort();

    await outcome;
  });

  test("a server that does not listen is an unknown outcome", async () => {
    const { gateway, request, close } = await open();
    await close();
    started.length = 0;

    await expect(gateway.createIntent(request, limits())).rejects.toMatchObject({ kind: "UNKNOWN" });
  });

  test("a response about another payment is a contradiction, and none of its facts is returned", async () => {
    const { gateway, fake, request, payment, capture, refund } = await authorize();
    const contradiction = { name: "GatewayError", kind: "CONTRADICTION" };
    const other = { ...request, paymentId: crypto.randomUUID() };
    const confirm = { ...payment, requestId: crypto.randomUUID(), methodToken: "" };

    fake.failNext("create", "other_payment");
    await expect(gateway.createIntent(other, limits())).rejects.toMatchObject(contradiction);
    fake.failNext("retrieve", "other_payment");
    await expect(gateway.confirm(confirm, limits())).rejects.toMatchObject(contradiction);
    fake.failNext("capture", "other_payment");
    await expect(gateway.capture(capture, limits())).rejects.toMatchObject(contradiction);
    fake.failNext("retrieve", "other_payment");
    await expect(gateway.fetch(payment, limits())).rejects.toMatchObject(contradiction);
    fake.failNext("refund", "other_payment");
    await expect(gateway.refund(refund, limits())).rejects.toMatchObject(contradiction);
    fake.failNext("cancel", "other_payment");
    const cancel = { ...payment, cancelId: crypto.randomUUID() };
    await expect(gateway.cancel(cancel, limits())).resolves.toMatchObject({ paymentId: payment.paymentId });
  });

  test("a rejected key is an unknown outcome, since the call succeeds once the key is corrected", async () => {
    const { fake, request } = await open();
    const gateway = createStripeGateway({
      secretKey: "sk_live_wrong",
      publishableKey: "",
      webhookSecrets: [],
      apiUrl: fake.url,
      capturesInParts: false,
    });

    await expect(gateway.createIntent(request, limits())).rejects.toMatchObject({ kind: "UNKNOWN" });
  });

  test("a capture of a voided payment fails as a fact", async () => {
    const { gateway, payment, capture } = await authorize();
    await gateway.cancel({ ...payment, cancelId: crypto.randomUUID() }, limits());
    const report = await gateway.capture(capture, limits());

    expect(amountsOf(report)).toEqual(["AUTHORIZED 1000", "CAPTURE_FAILED 1000", "VOIDED 1000"]);
  });

  test("a payment that does not exist is rejected", async () => {
    const { gateway, capture } = await authorize();

    await expect(gateway.capture({ ...capture, reference: "pi_none" }, limits())).rejects.toMatchObject({
      kind: "REJECTED",
      code: "resource_missing",
    });
  });

  test("an amount that Stripe cannot charge is rejected without a request", async () => {
    const { gateway, fake, request } = await open();
    const amount = { currencyCode: "BHD", minorUnits: 1_234n };

    await expect(gateway.createIntent({ ...request, amount }, limits())).rejects.toBeInstanceOf(GatewayError);
    await expect(gateway.createIntent({ ...request, amount }, limits())).rejects.toMatchObject({
      kind: "REJECTED",
      code: "AMOUNT_NOT_CHARGEABLE",
    });
    expect(fake.requests).toEqual([]);
  });
});

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
      code: "multicapture_unavailable",
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
