import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { withSigningKeyId } from "../../../support/identity/identity-instance.ts";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

// The charges of calls to their address, for each kind of credential. The windows are long, so that no budget is
// refilled while a test runs.
let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({
    ACCESS: "on",
    LIMITS: "on",
    TRUSTED_PROXIES: "127.0.0.1/32",
    LIMIT_AUTH: "10/3600",
    LIMIT_READ: "15/3600",
  });
  admin = await createAccount(shop, "ADMIN");
});
afterAll(() => shop.close());

const responseSchema = z.object({
  details: z.array(z.object({ debug: z.object({ reason: z.string().optional() }) })).default([]),
  tokens: z.object({ accessToken: z.string(), refreshToken: z.string() }).optional(),
  apiKey: z.object({ id: z.string() }).optional(),
  secret: z.string().optional(),
});

/** Sends a JSON call from an address. */
async function post(address: string, path: string, body: unknown, token?: string) {
  const headers = new Headers({ "content-type": "application/json", "x-forwarded-for": address });
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  const url = `${shop.url}/cartwright.${path}`;
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body), headers });
  const { details, ...message } = responseSchema.parse(await response.json());
  return {
    ...message,
    status: response.status,
    reason: details[0]?.debug.reason ?? "",
    /** The remaining budget and its size, from the headers. */
    quota: `${response.headers.get("ratelimit-remaining")} of ${response.headers.get("ratelimit-limit")}`,
    retryAfter: response.headers.get("retry-after"),
  };
}

let addressCount = 0;
function newAddress(): string {
  addressCount += 1;
  return `198.51.100.${addressCount}`;
}

const identity = "identity.v1.IdentityService";
const listBrands = "catalog.v1.CatalogService/ListBrands";

function register(address: string, token?: string) {
  const input = { email: `${randomUUID()}@example.com`, name: "Ann", password: "correct horse" };
  return post(address, `${identity}/Register`, input, token);
}

function signIn(address: string, { email, password }: SignedInAccount, token?: string) {
  return post(address, `${identity}/SignIn`, { email, password }, token);
}

/** Registers an account from another address. @returns its tokens */
async function createTokens(): Promise<{ accessToken: string; refreshToken: string }> {
  const { tokens } = await register(newAddress());
  if (tokens === undefined) throw new Error("the registration failed");
  return tokens;
}

/** Returns the reasons of sequential calls. */
async function reasonsOf(count: number, call: () => Promise<{ reason: string }>): Promise<string[]> {
  const reasons: string[] = [];
  for (let sent = 0; sent < count; sent += 1) reasons.push((await call()).reason);
  return reasons;
}

test("a caller with tokens cannot register and sign in more often from an address than one without", async () => {
  const address = newAddress();
  const tokens = [(await createTokens()).accessToken, (await createTokens()).accessToken];
  for (let sent = 0; sent < 5; sent += 1) expect((await register(address)).status).toBe(200);
  for (const token of [undefined, ...tokens]) {
    expect(await register(address, token)).toMatchObject({ status: 429, reason: "RATE_LIMITED" });
    expect(await signIn(address, admin, token)).toMatchObject({ status: 429, reason: "RATE_LIMITED" });
  }
});

test("registering with a token is charged to the account and the address, and the headers show the smaller remainder", async () => {
  const { accessToken } = await createTokens();
  const [first, second, third] = [newAddress(), newAddress(), newAddress()];
  expect((await register(first, accessToken)).quota).toBe("8 of 10");
  expect((await register(second, accessToken)).quota, "of the account").toBe("6 of 10");
  for (const remaining of [8, 6, 4]) expect((await register(third)).quota).toBe(`${remaining} of 10`);
  expect((await register(third, accessToken)).quota, "of the address").toBe("2 of 10");
  expect((await register(second, accessToken)).quota).toBe("2 of 10");
  expect((await register(second, accessToken)).quota).toBe("0 of 10");
  const rejected = await register(newAddress(), accessToken);
  expect(rejected).toMatchObject({ status: 429, reason: "RATE_LIMITED", quota: "0 of 10" });
  expect(Number(rejected.retryAfter)).toBeGreaterThan(0);
});

test("a call with the token of an ended session charges its cost to the address and is not counted as a failed attempt", async () => {
  const address = newAddress();
  const { accessToken, refreshToken } = await createTokens();
  await post(newAddress(), `${identity}/SignOut`, { refreshToken });
  const responses: Awaited<ReturnType<typeof post>>[] = [];
  for (let sent = 0; sent < 20; sent += 1) responses.push(await post(address, listBrands, {}, accessToken));
  const reasons = responses.map(({ reason }) => reason);
  expect(reasons).toEqual([...Array(15).fill("SESSION_ENDED"), ...Array(5).fill("RATE_LIMITED")]);
  expect(responses[0]?.quota).toBe("14 of 15");
  expect(Number(responses.at(-1)?.retryAfter)).toBeGreaterThan(0);
  expect((await post(address, listBrands, {})).reason).toBe("RATE_LIMITED");
  // Only this sign-in was charged to the AUTH budget.
  expect((await signIn(address, admin)).quota).toBe("9 of 10");
});

test("refresh tokens of an ended session are not counted as failed attempts, but forged ones are", async () => {
  const address = newAddress();
  const { refreshToken } = await createTokens();
  const refresh = () => post(address, `${identity}/RefreshSession`, { refreshToken });
  await refresh();
  const reasons = await reasonsOf(11, refresh);
  expect(reasons).toEqual(["REFRESH_TOKEN_REUSED", ...Array(10).fill("SESSION_ENDED")]);
  expect((await signIn(address, admin)).quota).toBe("9 of 10");
  const forged = { refreshToken: `cr_${randomBytes(84).toString("base64url")}` };
  expect((await post(address, `${identity}/RefreshSession`, forged)).reason).toBe("REFRESH_TOKEN_INVALID");
  expect((await signIn(address, admin)).quota).toBe("7 of 10");
});

test("revoked API keys are not counted as failed attempts, and their calls are charged to the address", async () => {
  const address = newAddress();
  const input = { apiKey: { serviceAccount: "warehouse", scopes: ["SCOPE_ORDERS_READ"] } };
  const created = await post(newAddress(), `${identity}/CreateApiKey`, input, admin.accessToken);
  await post(newAddress(), `${identity}/RevokeApiKey`, { id: created.apiKey?.id }, admin.accessToken);
  const call = () => post(address, listBrands, {}, created.secret);
  const reasons = await reasonsOf(17, call);
  expect(reasons).toEqual([...Array(15).fill("API_KEY_ENDED"), ...Array(2).fill("RATE_LIMITED")]);
  expect((await signIn(address, admin)).quota).toBe("9 of 10");
});

test("beyond the limit of its address, a token with an unknown key id is rejected without a query", async () => {
  const address = newAddress();
  const { accessToken } = await createTokens();
  const failedAttempt = () => {
    const kid = randomBytes(32).toString("base64url");
    return post(address, listBrands, {}, withSigningKeyId(accessToken, kid));
  };
  const reasons = await reasonsOf(12, failedAttempt);
  expect(reasons).toEqual([...Array(10).fill("TOKEN_INVALID"), ...Array(2).fill("RATE_LIMITED")]);
  await shop.database.query("alter table signing_key rename to unavailable");
  try {
    // A query would fail with another reason.
    expect((await failedAttempt()).reason).toBe("RATE_LIMITED");
  } finally {
    await shop.database.query("alter table unavailable rename to signing_key");
  }
  // A token with a published key id is still accepted.
  expect((await post(address, listBrands, {}, accessToken)).status).toBe(200);
});
