import { describe, expect, test } from "vitest";
import { GatewayError, type GatewayReport } from "../../../../src/infra/payment/payment-gateway.ts";
import { createStripeGateway } from "../../../../src/infra/payment/stripe/stripe-gateway.ts";
import { amountsOf, eur, limits } from "../../../support/payments/gateway-under-test.ts";
import { createStripeFixture } from "../../../support/payments/stripe-under-test.ts";
import { findIntent } from "../../../support/stripe-fake/fake-account.ts";
import type { FakeFault } from "../../../support/stripe-fake/fake-faults.ts";

const { open, authorize } = createStripeFixture();

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

  // The package has a time limit of 80 s of its own, after which a test without ours would pass too.
  test("a call without a response ends at its time limit", { timeout: 60_000 }, async () => {
    const { gateway, fake, request } = await open();
    fake.failNext("create", "no_response");
    const call = gateway.createIntent(request, { signal: new AbortController().signal, timeoutMs: 200 });

    await expect(call).rejects.toMatchObject({ kind: "UNKNOWN", code: "timeout" });
    expect(fake.account.intents.size).toBe(1);
  });

  test("a call without a response ends when it is aborted", { timeout: 60_000 }, async () => {
    const { gateway, fake, request } = await open();
    fake.failNext("create", "no_response");
    const controller = new AbortController();
    const call = gateway.createIntent(request, { signal: controller.signal, timeoutMs: 600_000 });
    const outcome = expect(call).rejects.toMatchObject({ kind: "UNKNOWN", code: "aborted" });
    await expect.poll(() => fake.requests.length).toBe(1);
    controller.abort();

    await outcome;
  });

  test("a server that does not listen is an unknown outcome", async () => {
    const { gateway, request, close } = await open();
    await close();

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

  test("concurrent repeats of each request are executed once", async () => {
    const { gateway, fake, request, payment, capture, refund } = await authorize({ capturesInParts: true });
    const twice = (call: () => Promise<GatewayReport>) => Promise.all([call(), call()]);
    const part = { ...capture, amount: eur(400n), isFinal: false };
    const other = { ...request, paymentId: crypto.randomUUID() };
    await twice(() => gateway.createIntent(other, limits()));
    await twice(() => gateway.capture(part, limits()));
    await twice(() => gateway.refund(refund, limits()));

    expect(fake.account.intents.size).toBe(2);
    expect(findIntent(fake.account, payment.reference).amount_received).toBe(400);
    expect(fake.account.refunds.size).toBe(1);
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
