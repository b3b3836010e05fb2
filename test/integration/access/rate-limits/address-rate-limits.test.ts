import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { createAccount, type SignedInAccount } from "../../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

// What calls cost the address that they come from, whoever they say they are.
let shop: TestShop;
let admin: SignedInAccount;
beforeAll(async () => {
  shop = await startShop({
    ...{ ACCESS: "on", LIMITS: "on", TRUSTED_PROXIES: "127.0.0.1/32" },
    ...{ LIMIT_AUTH: "10/60", LIMIT_READ: "15/60" },
  });
  admin = await createAccount(shop, "ADMIN");
});
afterAll(() => shop.close());

const answerSchema = z.object({
  details: z.array(z.object({ debug: z.object({ reason: z.string().optional() }) })).default([]),
  tokens: z.object({ accessToken: z.string(), refreshToken: z.string() }).optional(),
  apiKey: z.object({ id: z.string() }).optional(),
  secret: z.string().optional(),
});

/** A call that comes from there. */
async function post(address: string, path: string, body: unknown, token?: string) {
  const response = await fetch(`${shop.url}/cartwright.${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: {
      ...{ "content-type": "application/json", "x-forwarded-for": address },
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  });
  const { details, ...answer } = answerSchema.parse(await response.json());
  return {
    status: response.status,
    reason: details[0]?.debug.reason ?? "",
    /** As the headers tell it: what is left of how much. */
    quota: `${response.headers.get("ratelimit-remaining")} of ${response.headers.get("ratelimit-limit")}`,
    retryAfter: response.headers.get("retry-after"),
    ...answer,
  };
}

let addresses = 0;
function newAddress(): string {
  addresses += 1;
  return `198.51.100.${addresses}`;
}

const password = "correct horse";
const identity = "identity.v1.IdentityService";
const listBrands = "catalog.v1.CatalogService/ListBrands";
const register = (address: string, token?: string) =>
  post(
    address,
    `${identity}/Register`,
    { email: `${randomUUID()}@example.com`, name: "Ann", password },
    token,
  );
const signIn = (address: string, person: SignedInAccount, token?: string) =>
  post(address, `${identity}/SignIn`, { email: person.email, password: person.password }, token);
/** A token of a new account, made somewhere else. */
const newTokens = async () => {
  const { tokens } = await register(newAddress());
  if (tokens === undefined) throw new Error("nobody was registered");
  return tokens;
};
/** The reasons of calls one after the other. */
const reasonsOf = async (count: number, call: () => Promise<{ reason: string }>) => {
  const reasons: string[] = [];
  for (let made = 0; made < count; made += 1) reasons.push((await call()).reason);
  return reasons;
};

test("whoever brings tokens of their own checks and sets no more passwords from an address than others", async () => {
  const address = newAddress();
  const tokens = [(await newTokens()).accessToken, (await newTokens()).accessToken];
  for (let made = 0; made < 5; made += 1) expect((await register(address)).status).toBe(200);
  for (const token of [undefined, ...tokens]) {
    expect(await register(address, token)).toMatchObject({ status: 429, reason: "RATE_LIMITED" });
    expect(await signIn(address, admin, token)).toMatchObject({ status: 429, reason: "RATE_LIMITED" });
  }
});

test("what a token's account checks and sets costs both, from wherever it calls, and the tighter one is told", async () => {
  const { accessToken } = await newTokens();
  const [first, second, third] = [newAddress(), newAddress(), newAddress()];
  expect((await register(first, accessToken)).quota).toBe("8 of 10");
  expect((await register(second, accessToken)).quota, "of the account").toBe("6 of 10");
  for (const left of [6, 4, 2]) expect((await register(third)).quota).toBe(`${left + 2} of 10`);
  expect((await register(third, accessToken)).quota, "of the address").toBe("2 of 10");
  expect((await register(second, accessToken)).quota).toBe("2 of 10");
  expect((await register(second, accessToken)).quota).toBe("0 of 10");
  const refused = await register(newAddress(), accessToken);
  expect(refused).toMatchObject({ status: 429, reason: "RATE_LIMITED", quota: "0 of 10" });
  expect(Number(refused.retryAfter)).toBeGreaterThan(0);
});

test("a token whose session has ended makes no call free: it costs the address what the call costs", async () => {
  const address = newAddress();
  const { accessToken, refreshToken } = await newTokens();
  await post(newAddress(), `${identity}/SignOut`, { refreshToken });
  const answers: Awaited<ReturnType<typeof post>>[] = [];
  for (let made = 0; made < 20; made += 1) answers.push(await post(address, listBrands, {}, accessToken));
  expect(answers.map(({ reason }) => reason)).toEqual([
    ...Array(15).fill("SESSION_ENDED"),
    ...Array(5).fill("RATE_LIMITED"),
  ]);
  expect(answers[0]?.quota).toBe("14 of 15");
  expect(Number(answers.at(-1)?.retryAfter)).toBeGreaterThan(0);
  expect((await post(address, listBrands, {})).reason).toBe("RATE_LIMITED");
  // They have guessed nothing.
  expect((await signIn(address, admin)).quota).toBe("9 of 10");
});

test("refresh tokens of a session that has ended are no guesses", async () => {
  const address = newAddress();
  const { refreshToken } = await newTokens();
  const refresh = () => post(address, `${identity}/RefreshSession`, { refreshToken });
  await refresh();
  expect(await reasonsOf(11, refresh)).toEqual(["REFRESH_TOKEN_REUSED", ...Array(10).fill("SESSION_ENDED")]);
  expect((await signIn(address, admin)).quota).toBe("9 of 10");
  // One that was never made is.
  const madeUp = { refreshToken: `cr_${randomBytes(84).toString("base64url")}` };
  expect((await post(address, `${identity}/RefreshSession`, madeUp)).reason).toBe("REFRESH_TOKEN_INVALID");
  expect((await signIn(address, admin)).quota).toBe("7 of 10");
});

test("API keys that were revoked are no guesses, and not free", async () => {
  const address = newAddress();
  const apiKey = { serviceAccount: "warehouse", scopes: ["SCOPE_ORDERS_READ"] };
  const made = await post(newAddress(), `${identity}/CreateApiKey`, { apiKey }, admin.accessToken);
  await post(newAddress(), `${identity}/RevokeApiKey`, { id: made.apiKey?.id }, admin.accessToken);
  const call = () => post(address, listBrands, {}, made.secret);
  expect(await reasonsOf(17, call)).toEqual([
    ...Array(15).fill("API_KEY_ENDED"),
    ...Array(2).fill("RATE_LIMITED"),
  ]);
  expect((await signIn(address, admin)).quota).toBe("9 of 10");
});

test("tokens that name keys nobody has are not asked about once their address is over", async () => {
  const address = newAddress();
  const { accessToken } = await newTokens();
  const [, ...rest] = accessToken.split(".");
  const madeUp = () => {
    const header = { alg: "EdDSA", typ: "at+jwt", kid: randomBytes(32).toString("base64url") };
    const text = Buffer.from(JSON.stringify(header)).toString("base64url");
    return post(address, listBrands, {}, [text, ...rest].join("."));
  };
  expect(await reasonsOf(12, madeUp)).toEqual([
    ...Array(10).fill("TOKEN_INVALID"),
    ...Array(2).fill("RATE_LIMITED"),
  ]);
  await shop.database.query("alter table signing_key rename to elsewhere");
  try {
    // Whoever asked now would be told that something is wrong.
    expect((await madeUp()).reason).toBe("RATE_LIMITED");
  } finally {
    await shop.database.query("alter table elsewhere rename to signing_key");
  }
  // Whose key is known is heard all the same.
  expect((await post(address, listBrands, {}, accessToken)).status).toBe(200);
});
