import { expect, test } from "vitest";
import { amountsOf, eur, factsOf, type GatewayFixture, limits, webhookFacts } from "./gateway-under-test.ts";

/** Tests how payments are refunded, and how requests are repeated. */
export function testRefunds({ create }: GatewayFixture): void {
  test("a payment is authorized, captured and refunded, and response, webhook and fetch state the same facts", async () => {
    const one = await create();
    const { gateway, payment } = one;
    const captureId = crypto.randomUUID();
    const refundId = crypto.randomUUID();
    const captured = await gateway.capture(
      { ...payment, captureId, amount: eur(1_000n), isFinal: true },
      limits(),
    );
    const refunded = await gateway.refund({ ...payment, refundId, amount: eur(300n) }, limits());
    const fetched = await gateway.fetch(payment, limits());

    expect(one.report).toMatchObject({ paymentId: payment.paymentId, amount: eur(1_000n) });
    expect(amountsOf(one.report)).toEqual(["AUTHORIZED 1000"]);
    expect(captured.facts).toContainEqual(
      expect.objectContaining({
        type: "CAPTURED",
        reference: captureId,
        requestId: captureId,
        amount: eur(1_000n),
      }),
    );
    expect(refunded.facts).toContainEqual(
      expect.objectContaining({ type: "REFUNDED", requestId: refundId, amount: eur(300n) }),
    );
    expect(amountsOf(fetched)).toEqual(["AUTHORIZED 1000", "CAPTURED 1000", "REFUNDED 300"]);
    expect(fetched?.totals).toEqual({ captured: 1_000n, refunded: 300n });
    expect(factsOf(fetched)).toEqual(factsOf(one.report, captured, refunded));
    expect(await webhookFacts(one)).toEqual(factsOf(fetched));
  });

  test("a refund that fails later is stated by fetch and webhook", async () => {
    const one = await create({ capture: "AT_ORDER", token: "refundFailed" });
    const { gateway, payment } = one;
    const refundId = crypto.randomUUID();
    await gateway.refund({ ...payment, refundId, amount: eur(1_000n) }, limits());
    const fetched = await gateway.fetch(payment, limits());

    expect(fetched?.facts).toContainEqual(
      expect.objectContaining({ type: "REFUND_FAILED", requestId: refundId }),
    );
    expect(fetched?.totals).toEqual({ captured: 1_000n, refunded: 0n });
    expect(await webhookFacts(one)).toEqual(expect.arrayContaining(factsOf(fetched)));
  });

  test("a refund of more than is left is rejected, and nothing is refunded", async () => {
    const { gateway, payment } = await create({ capture: "AT_ORDER" });
    const refund = (minorUnits: bigint) => ({
      ...payment,
      refundId: crypto.randomUUID(),
      amount: eur(minorUnits),
    });
    await gateway.refund(refund(600n), limits());

    await expect(gateway.refund(refund(401n), limits())).rejects.toMatchObject({ kind: "REJECTED" });
    expect((await gateway.fetch(payment, limits()))?.totals).toEqual({ captured: 1_000n, refunded: 600n });
  });

  test("repeated requests with the same ids change nothing", async () => {
    const one = await create();
    const { gateway, payment, request } = one;
    const capture = { ...payment, captureId: crypto.randomUUID(), amount: eur(1_000n), isFinal: true };
    const refund = { ...payment, refundId: crypto.randomUUID(), amount: eur(100n) };
    const created = await gateway.createIntent(request, limits());
    const captures = [await gateway.capture(capture, limits()), await gateway.capture(capture, limits())];
    const refunds = [await gateway.refund(refund, limits()), await gateway.refund(refund, limits())];
    const late = await gateway.createIntent(request, limits());

    expect(created.reference).toBe(payment.reference);
    expect(factsOf(captures[1])).toEqual(factsOf(captures[0]));
    expect(factsOf(refunds[1])).toEqual(factsOf(refunds[0]));
    expect(factsOf(late)).toEqual(expect.arrayContaining(factsOf(captures[0])));
    expect((await gateway.fetch(payment, limits()))?.totals).toEqual({ captured: 1_000n, refunded: 100n });
  });
}
