import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { clientsWithToken, createAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", LIMITS: "on", LIMIT_AUTH: "20/3600", LIMIT_READ: "1000/3600" });
});
afterAll(() => shop.close());

test("calls with the token of an ended session do not count as failed attempts, so the account can sign in again", async () => {
  const { identity, email, password } = await createAccount(shop);
  await identity.signOut({});
  const failures = await Promise.all(Array.from({ length: 50 }, () => failureOf(identity.getMe({}))));
  expect(new Set(failures.map(({ reason }) => reason))).toEqual(new Set(["SESSION_ENDED"]));
  await shop.identity.signIn({ email, password });
});

test("unknown API keys are charged to the address and, beyond its limit, rejected without a query", async () => {
  const failedAttempt = () => {
    const secret = `ck_${randomBytes(32).toString("base64url")}`;
    return failureOf(clientsWithToken(shop, secret).identity.getMe({}));
  };
  const reasons: (string | undefined)[] = [];
  for (let count = 0; count < 40; count += 1) reasons.push((await failedAttempt()).reason);
  const invalid = reasons.filter((reason) => reason === "API_KEY_INVALID").length;
  expect(invalid).toBeGreaterThan(5);
  expect(invalid).toBeLessThanOrEqual(20);
  expect(reasons.at(-1)).toBe("RATE_LIMITED");
  await shop.database.query("alter table api_key rename to unavailable");
  try {
    // A query would fail with another reason.
    expect((await failedAttempt()).reason).toBe("RATE_LIMITED");
  } finally {
    await shop.database.query("alter table unavailable rename to api_key");
  }
});
