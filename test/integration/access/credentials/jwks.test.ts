import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let staff: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", TOKEN_ISSUER: "https://shop.example" });
  staff = await createAccount(shop, "STAFF");
});
afterAll(() => shop.close());

const jwksUrl = () => new URL("/.well-known/jwks.json", shop.url);

test("another service can verify an access token with the published keys alone", async () => {
  const { payload, protectedHeader } = await jwtVerify(staff.accessToken, createRemoteJWKSet(jwksUrl()), {
    algorithms: ["EdDSA"],
    issuer: "https://shop.example",
    audience: "https://shop.example",
    typ: "at+jwt",
    maxTokenAge: "10 min",
  });
  expect(payload).toMatchObject({ sub: staff.accountId, customer_id: staff.customerId, role: "STAFF" });
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(600);
  expect(protectedHeader.kid).toBe(decodeProtectedHeader(staff.accessToken).kid);
});

test("the JWK set holds no private key and may be cached for five minutes", async () => {
  const response = await fetch(jwksUrl());
  expect(response.headers.get("cache-control")).toBe("public, max-age=300");
  const text = await response.text();
  expect(JSON.parse(text).keys.length).toBeGreaterThan(0);
  expect(text).not.toContain('"d"');
});
