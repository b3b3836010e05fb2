import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { startShop, type TestShop } from "../../support/shop.ts";

// The windows are long, so that no budget is refilled while a test runs.
let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({
    ACCESS: "on",
    LIMITS: "on",
    TRUSTED_PROXIES: "127.0.0.1/32",
    LIMIT_READ: "2/3600",
    LIMIT_AUTH: "10/3600",
  });
});
afterAll(() => shop.close());

const responseSchema = z.object({
  details: z.array(z.object({ debug: z.object({ reason: z.string().optional() }) })).default([]),
  tokens: z.object({ accessToken: z.string() }).optional(),
});

/** Sends a JSON call from an address. @returns `OK` or the reason of its error, and the access token of a sign-in */
async function post(from: string, path: string, body: unknown, token?: string) {
  const headers = new Headers({ "content-type": "application/json", "x-forwarded-for": from });
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  const url = `${shop.url}/cartwright.${path}`;
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body), headers });
  const { details, tokens } = responseSchema.parse(await response.json());
  const reason = response.ok ? "OK" : (details[0]?.debug.reason ?? "");
  return { reason, accessToken: tokens?.accessToken ?? "" };
}

const password = "correct horse";
const newEmail = () => `${randomUUID()}@example.com`;
const register = (from: string, email = newEmail()) =>
  post(from, "identity.v1.IdentityService/Register", { email, name: "Ann", password });

async function signIn(from: string, email: string, guess = password): Promise<string> {
  return (await post(from, "identity.v1.IdentityService/SignIn", { email, password: guess })).reason;
}

/** Runs calls in turn. @returns how often each outcome occurred */
async function countOutcomes(
  count: number,
  call: (index: number) => Promise<string>,
): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {};
  for (let index = 0; index < count; index += 1) {
    const outcome = await call(index);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  return outcomes;
}

test("20 accounts from four addresses do not have 20 budgets", async () => {
  const tokens: string[] = [];
  // Each address registers five accounts, which spends its AUTH budget too.
  const registered = await countOutcomes(40, async (index) => {
    const { reason, accessToken } = await register(`192.0.2.${index % 4}`);
    if (reason === "OK") tokens.push(accessToken);
    return reason;
  });
  expect(registered).toEqual({ OK: 20, RATE_LIMITED: 20 });
  // An account has 20 reads, and the accounts at one address have 80 together.
  const read = async (index: number) =>
    (await post("192.0.2.9", "catalog.v1.CatalogService/ListBrands", {}, tokens[index % 20])).reason;
  expect(await countOutcomes(400, read)).toEqual({ OK: 80, RATE_LIMITED: 320 });
});

test("accounts are registered ten times an hour from an address, and forty times from an IPv6 /48", async () => {
  // The AUTH budgets are those of other addresses: each /64 network registers once.
  const outcomes = await countOutcomes(
    60,
    async (index) => (await register(`2001:db8:2:${index}::1`)).reason,
  );
  expect(outcomes).toEqual({ OK: 40, RATE_LIMITED: 20 });
});

test("passwords that 25 networks of an IPv6 /48 guess are not all verified", async () => {
  const outcomes = await countOutcomes(25, (index) =>
    signIn(`2001:db8:3:${index}::1`, newEmail(), "battery staple"),
  );
  expect(outcomes).toEqual({ SIGN_IN_FAILED: 20, RATE_LIMITED: 5 });
});

// The guesses spend the AUTH budget of the /48 in which the owner is at the office.
test("passwords of one account that many networks guess do not keep the owner out", async () => {
  const email = newEmail();
  const [home, office] = ["198.51.100.1", "2001:db8:4:ffff::1"];
  await register(home, email);
  expect(await signIn(office, email)).toBe("OK");
  const owner: string[] = [];
  const guesses = await countOutcomes(100, async (index) => {
    if (index % 25 === 24) owner.push(await signIn(home, email), await signIn(office, email));
    return signIn(index % 2 === 0 ? `203.0.113.${index}` : `2001:db8:4:${index}::1`, email, "battery staple");
  });
  expect(owner).toEqual(Array(8).fill("OK"));
  // Five at first, and then one after each wait, which doubles from one second.
  expect(guesses.SIGN_IN_FAILED).toBeGreaterThanOrEqual(5);
  expect(guesses.SIGN_IN_FAILED).toBeLessThanOrEqual(12);
  expect(guesses.SIGN_IN_BACKOFF).toBeGreaterThan(0);
});
