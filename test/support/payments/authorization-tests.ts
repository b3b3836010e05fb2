import { expect, test } from "vitest";
import { amountsOf, eur, factsOf, type GatewayFixture, limits, webhookFacts } from "./gateway-under-test.ts";

/** Tests how payments are authorized, cancelled and found. */
export function testAuthorizations({ create }: GatewayFixture): void {
  test("a declined payment is no error, and can be confirmed with another method", async () => {
    const one = await create({ token: "declined" });
    const { gateway, payment, tokens } = one;
    const confirm = { ...payment, requestId: crypto.randomUUID(), methodToken: tokens.ok };
    const confirmed = await gateway.confirm(confirm, limits());

    expect(one.report).toMatchObject({ step: "FAILED", failure: { code: expect.stringMatching(/./) } });
    expect(amountsOf(one.report)).toEqual(["AUTHORIZATION_FAILED 1000"]);
    expect(confirmed.facts).toContainEqual(
      expect.objectContaining({ type: "AUTHORIZED", amount: eur(1_000n) }),
    );
    expect(await webhookFacts(one)).toEqual(factsOf(one.report, confirmed));
  });

  test("a payment without a method waits for its confirmation", async () => {
    const { gateway, payment, report, tokens } = await create({ token: "" });
    const confirm = { ...payment, requestId: crypto.randomUUID(), methodToken: tokens.ok };
    const confirmed = await gateway.confirm(confirm, limits());
    const again = await gateway.confirm(confirm, limits());

    expect(report).toMatchObject({ step: "ACTION_REQUIRED", facts: [] });
    expect(report.clientSecret).toMatch(/./);
    expect(amountsOf(confirmed)).toEqual(["AUTHORIZED 1000"]);
    expect(factsOf(again)).toEqual(factsOf(confirmed));
  });

  test.each([
    { succeeds: true, types: ["AUTHORIZED 1000"] },
    { succeeds: false, types: ["AUTHORIZATION_FAILED 1000"] },
  ])(
    "a payment waits for the second step of the buyer (succeeds: $succeeds)",
    async ({ succeeds, types }) => {
      const one = await create({ token: "secondStep" });
      const after = await one.takeSecondStep(one.payment, succeeds);

      expect(one.report).toMatchObject({ step: "ACTION_REQUIRED", facts: [] });
      expect(amountsOf(after)).toEqual(types);
      expect(await webhookFacts(one)).toEqual(factsOf(after));
    },
  );

  test("a cancelled payment is voided, and a second cancel returns the same", async () => {
    const one = await create();
    const { gateway, payment } = one;
    const cancelled = await gateway.cancel({ ...payment, cancelId: crypto.randomUUID() }, limits());
    const again = await gateway.cancel({ ...payment, cancelId: crypto.randomUUID() }, limits());

    expect(amountsOf(cancelled)).toEqual(["AUTHORIZED 1000", "VOIDED 1000"]);
    expect(factsOf(again)).toEqual(factsOf(cancelled));
    expect(await webhookFacts(one)).toEqual(factsOf(cancelled));
  });

  test("a payment without a known reference is found by our id", async () => {
    const { gateway, payment } = await create();
    const found = await gateway.fetch({ paymentId: payment.paymentId, reference: "" }, limits());

    expect(found).toMatchObject(payment);
    expect(amountsOf(found)).toEqual(["AUTHORIZED 1000"]);
    const other = crypto.randomUUID();
    expect(await gateway.fetch({ paymentId: other, reference: "" }, limits())).toBeUndefined();
    expect(await gateway.fetch({ paymentId: other, reference: "pi_none" }, limits())).toBeUndefined();
  });

  test("a token that is none is rejected, and is not in the message", async () => {
    const { gateway, request } = await create();
    const created = gateway.createIntent(
      { ...request, paymentId: crypto.randomUUID(), methodToken: "4242424242424242" },
      limits(),
    );

    await expect(created).rejects.toMatchObject({
      kind: "REJECTED",
      message: expect.not.stringContaining("4242424242424242"),
    });
  });

  test("webhooks with a forged, an old or no signature are refused", async () => {
    const one = await create();
    const [webhook] = await one.sentWebhooks();
    if (webhook === undefined) throw new Error("the gateway has sent no webhook");
    const { body } = webhook;
    const verify = (headers: Record<string, string>, sent: Buffer, now: Date) => () =>
      one.gateway.verifyWebhook({ headers: new Map(Object.entries(headers)), body: sent, now });
    const now = new Date();

    expect(verify(webhook.headers, body, now)().id).toMatch(/./);
    expect(verify({}, body, now)).toThrow("has no signature");
    expect(verify(webhook.headers, Buffer.concat([body, Buffer.from(" ")]), now)).toThrow(
      "No secret matches",
    );
    expect(verify(webhook.headers, body, new Date(now.getTime() + 301_000))).toThrow("5 minutes");
  });
}
