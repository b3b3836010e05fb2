import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { failureOf } from "../../../support/errors.ts";
import { clientsWithToken, createAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

// What was good once is no guess. What never was costs the address, and soon is not even looked at.
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", LIMITS: "on", LIMIT_AUTH: "20/60", LIMIT_READ: "1000/60" });
});
afterAll(() => shop.close());

test("a page that goes on with a token of a session that has ended can sign in again", async () => {
  const ann = await createAccount(shop);
  await ann.identity.signOut({});
  const calls = Array.from({ length: 50 }, () => failureOf(ann.identity.getMe({})));
  expect(new Set((await Promise.all(calls)).map(({ reason }) => reason))).toEqual(new Set(["SESSION_ENDED"]));
  await shop.identity.signIn({ email: ann.email, password: ann.password });
});

test("made-up keys cost the address, and once it is over the database hears of no more", async () => {
  const madeUp = () =>
    clientsWithToken(shop, `ck_${randomBytes(32).toString("base64url")}`).identity.getMe({});
  const reasons: (string | undefined)[] = [];
  for (let count = 0; count < 40; count += 1) reasons.push((await failureOf(madeUp())).reason);
  const wrong = reasons.filter((reason) => reason === "API_KEY_INVALID").length;
  expect(wrong).toBeGreaterThan(5);
  expect(wrong).toBeLessThanOrEqual(20);
  expect(reasons.at(-1)).toBe("RATE_LIMITED");
  await shop.database.query("alter table api_key rename to elsewhere");
  try {
    // Whoever asked now would be told that something is wrong.
    expect((await failureOf(madeUp())).reason).toBe("RATE_LIMITED");
  } finally {
    await shop.database.query("alter table elsewhere rename to api_key");
  }
});
