import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
let ann: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on", TOKEN_ISSUER: "https://shop.example" });
  ann = await createAccount(shop, "STAFF");
});
afterAll(() => shop.close());

const keysUrl = () => new URL("/.well-known/jwks.json", shop.url);

test("another service verifies an access token by the published keys alone", async () => {
  const { payload, protectedHeader } = await jwtVerify(ann.accessToken, createRemoteJWKSet(keysUrl()), {
    algorithms: ["EdDSA"],
    issuer: "https://shop.example",
    audience: "https://shop.example",
    typ: "at+jwt",
    maxTokenAge: "10 min",
  });
  expect(payload).toMatchObject({ sub: ann.accountId, customer_id: ann.customerId, role: "STAFF" });
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(600);
  expect(protectedHeader.kid).toBe(decodeProtectedHeader(ann.accessToken).kid);
});

test("nothing private is published, and caches may keep it for minutes", async () => {
  const response = await fetch(keysUrl());
  expect(response.headers.get("cache-control")).toBe("public, max-age=300");
  const text = await response.text();
  expect(JSON.parse(text).keys.length).toBeGreaterThan(0);
  expect(text).not.toContain('"d"');
});
