import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testGateway } from "../../../support/payments/gateway-suite.ts";
import {
  isStripeMockInstalled,
  type StripeMock,
  startStripeMock,
} from "../../../support/payments/stripe-mock.ts";
import { startStripe } from "../../../support/payments/stripe-under-test.ts";

describe.skipIf(!isStripeMockInstalled)("stripe-mock (skipped where the PATH has none)", () => {
  let mock: StripeMock;
  beforeAll(async () => {
    mock = await startStripeMock();
  });
  afterAll(() => mock.stop());

  testGateway(
    "every request and response of the suite has the shape of Stripe's specification",
    async (options) => {
      const one = await startStripe({ ...options, mockUrl: mock.url });
      return {
        ...one,
        async close() {
          expect(one.fake.shapes?.mistakes).toEqual([]);
          expect(one.fake.shapes?.checked).toBeGreaterThan(0);
          await one.close();
        },
      };
    },
  );

  test("stripe-mock rejects a request with a parameter that Stripe does not have", async () => {
    const { fake, close } = await startStripe({ mockUrl: mock.url });
    const body = new URLSearchParams({ amount: "100", currency: "eur", capture: "manual" });
    const headers = { authorization: `Bearer ${fake.secretKey}` };
    const response = await fetch(`${fake.url}/v1/payment_intents`, { method: "POST", headers, body });

    expect(response.status).toBe(400);
    expect(fake.shapes?.mistakes).toHaveLength(1);
    expect(fake.account.intents.size).toBe(0);
    await close();
  });
});
