import { expect, test } from "vitest";
import { readConfig } from "../../../src/config.ts";

test("the sandbox is the default gateway only without a database of one's own", () => {
  expect(readConfig({}).payments.gateway).toBe("sandbox");
  expect(readConfig({ DATABASE_URL: "postgres://db/shop" }).payments.gateway).toBe("none");
  expect(
    readConfig({ DATABASE_URL: "postgres://db/shop", PAYMENT_GATEWAY: "sandbox" }).payments.gateway,
  ).toBe("sandbox");
});

test("Stripe needs its secret key and the secrets of its webhook, of which several are valid during a rotation", () => {
  const env = { PAYMENT_GATEWAY: "stripe", STRIPE_SECRET_KEY: "sk", STRIPE_WEBHOOK_SECRET: "new, old" };
  expect(readConfig(env).payments.stripe).toEqual({
    secretKey: "sk",
    publishableKey: "",
    webhookSecrets: ["new", "old"],
    apiUrl: undefined,
    capturesInParts: false,
  });
  for (const name of ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"]) {
    expect(() => readConfig({ ...env, [name]: "" })).toThrow(`${name}: is required`);
  }
});
