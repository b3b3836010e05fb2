import { expect, test } from "vitest";
import { amountsOf, eur, factsOf, type GatewayFixture, limits, webhookFacts } from "./gateway-under-test.ts";

/** Tests how payments are captured. */
export function testCaptures({ create }: GatewayFixture): void {
  test("a payment with capture at the order is captured by its creation", async () => {
    const one = await create({ capture: "AT_ORDER" });
    const fetched = await one.gateway.fetch(one.payment, limits());

    expect(one.report.facts).toContainEqual(
      expect.objectContaining({ type: "CAPTURED", amount: eur(1_000n) }),
    );
    expect(fetched?.totals).toEqual({ captured: 1_000n, refunded: 0n });
    expect(factsOf(fetched)).toEqual(factsOf(one.report));
    expect(await webhookFacts(one)).toEqual(factsOf(fetched));
  });

  test("a cancel of a captured payment returns the capture", async () => {
    const { gateway, payment } = await create({ capture: "AT_ORDER" });
    const report = await gateway.cancel({ ...payment, cancelId: crypto.randomUUID() }, limits());

    expect(report.facts).toContainEqual(expect.objectContaining({ type: "CAPTURED", amount: eur(1_000n) }));
    expect(report.facts).not.toContainEqual(expect.objectContaining({ type: "VOIDED" }));
  });

  test("a final capture of a part voids the rest", async () => {
    const one = await create();
    const capture = { ...one.payment, captureId: crypto.randomUUID(), amount: eur(400n), isFinal: true };
    const report = await one.gateway.capture(capture, limits());

    expect(amountsOf(report)).toEqual(["AUTHORIZED 1000", "CAPTURED 400", "VOIDED 600"]);
    expect(factsOf(await one.gateway.fetch(one.payment, limits()))).toEqual(factsOf(report));
    expect(await webhookFacts(one)).toEqual(factsOf(report));
  });

  test("a payment is captured in parts, each with its own reference", async () => {
    const one = await create({ capturesInParts: true });
    const { gateway, payment } = one;
    const capture = (minorUnits: bigint, isFinal: boolean) => ({
      ...payment,
      captureId: crypto.randomUUID(),
      amount: eur(minorUnits),
      isFinal,
    });
    const first = capture(400n, false);
    const second = capture(250n, true);
    const reports = [await gateway.capture(first, limits()), await gateway.capture(second, limits())];
    const facts = factsOf(...reports);

    expect(facts.filter((fact) => fact.startsWith("CAPTURED"))).toEqual(
      [
        `CAPTURED ${first.captureId} 400 EUR ${first.captureId}`,
        `CAPTURED ${second.captureId} 250 EUR ${second.captureId}`,
      ].sort(),
    );
    expect(amountsOf(reports[0])).not.toContain("VOIDED 600");
    expect(amountsOf(reports[1])).toContain("VOIDED 350");
    expect((await gateway.fetch(payment, limits()))?.totals?.captured).toBe(650n);
    expect(await webhookFacts(one)).toEqual(facts);
  });

  test("a declined capture is a fact, after which the authorization is still open", async () => {
    const { gateway, payment } = await create({ token: "captureDeclined" });
    const captureId = crypto.randomUUID();
    const report = await gateway.capture(
      { ...payment, captureId, amount: eur(1_000n), isFinal: true },
      limits(),
    );

    expect(report.facts).toContainEqual(
      expect.objectContaining({ type: "CAPTURE_FAILED", reference: captureId, requestId: captureId }),
    );
    expect(amountsOf(await gateway.fetch(payment, limits()))).not.toContain("CAPTURED 1000");
  });

  test.each([
    { amount: { currencyCode: "JPY", minorUnits: 1n } },
    { amount: { currencyCode: "BHD", minorUnits: 12_340n } },
    { amount: { currencyCode: "ISK", minorUnits: 5n } },
    { amount: { currencyCode: "MGA", minorUnits: 500n } },
    { amount: { currencyCode: "IDR", minorUnits: 99_999_999_999n } },
  ])("amounts are the same after authorization and capture ($amount.currencyCode)", async ({ amount }) => {
    const one = await create({ amount });
    const capture = { ...one.payment, captureId: crypto.randomUUID(), amount, isFinal: true };
    const report = await one.gateway.capture(capture, limits());

    expect(one.report.amount).toEqual(amount);
    expect(report.facts.map((fact) => fact.amount)).toEqual([amount, amount]);
    expect((await one.gateway.fetch(one.payment, limits()))?.totals?.captured).toBe(amount.minorUnits);
  });
}
