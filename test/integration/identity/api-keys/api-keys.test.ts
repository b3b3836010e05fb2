import { expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  createSharedStores,
  createTestClock,
  openIdentity,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

const call = internalCall();
const page = { pageSize: 0, pageToken: "" };
const warehouse = { serviceAccount: "warehouse", scopes: ["ORDERS_READ"], expireTime: undefined };

test("an API key says which service it is and what it may do; its secret is not kept", async () => {
  const { identity, database } = await openIdentity();
  const scopes = ["ORDERS_WRITE", "ORDERS_READ", "ORDERS_READ"];
  const { apiKey, secret } = await identity.createApiKey(call, { ...warehouse, scopes });
  expect(secret).toMatch(/^ck_[\w-]{43}$/);
  expect(secret.startsWith(apiKey.secretPrefix)).toBe(true);
  expect(apiKey.secretPrefix).toHaveLength(9);
  for (let n = 0; n < 2; n += 1) {
    expect(await identity.authenticate(secret)).toEqual({
      ...{ kind: "service", keyId: apiKey.id, serviceAccount: "warehouse" },
      scopes: new Set(["ORDERS_READ", "ORDERS_WRITE"]),
    });
  }
  const [row] = await database.query<{ text: string }>("select api_key::text as text from api_key");
  for (const form of [secret.slice(9), Buffer.from(secret).toString("hex", 9)]) {
    expect(row?.text).not.toContain(form);
  }
});

test("a key that is not ours is refused, and one that looks like ours too", async () => {
  const { identity } = await openIdentity();
  const { secret } = await identity.createApiKey(call, warehouse);
  const forgeries = [`ck_${"A".repeat(43)}`, secret.slice(0, -1), `${secret}A`, "ck_", secret.toUpperCase()];
  for (const forged of forgeries) {
    const reason = await rejectionReason(() => identity.authenticate(forged));
    expect(reason, forged).toBe(forged.startsWith("ck_") ? "API_KEY_INVALID" : "TOKEN_INVALID");
  }
  expect(await identity.authenticate(secret)).toMatchObject({ kind: "service" });
});

test("whoever shows too many wrong keys can be refused before the database is asked for one more", async () => {
  const { identity, reads } = await openIdentity();
  const { secret } = await identity.createApiKey(call, warehouse);
  let asked = 0;
  const beforeAsking = () => {
    asked += 1;
  };
  const refuse = () => {
    throw new AppError("exhausted", "Too many.", { reason: "REFUSED" });
  };
  await identity.authenticate(secret, beforeAsking);
  expect(asked).toBe(1);
  // From now on it is known, and nobody is refused for it.
  expect(await identity.authenticate(secret, refuse)).toMatchObject({ kind: "service" });
  await expect.poll(() => identity.authenticate(secret, refuse)).not.toBeInstanceOf(Promise);
  const before = reads.length;
  const made = `ck_${"A".repeat(43)}`;
  expect(await rejectionReason(() => identity.authenticate(made, refuse))).toBe("REFUSED");
  expect(reads.length).toBe(before);
  expect(await rejectionReason(() => identity.authenticate(made, beforeAsking))).toBe("API_KEY_INVALID");
  expect(asked).toBe(2);
});

test("a revoked key is no longer good, at once and at every replica", async () => {
  const site = await createSharedStores();
  const one = await openIdentity({ site });
  const two = await openIdentity({ site });
  const { apiKey, secret } = await one.identity.createApiKey(call, warehouse);
  const other = await one.identity.createApiKey(call, warehouse);
  for (const { identity } of [one, two]) {
    await expect.poll(() => identity.authenticate(secret)).not.toBeInstanceOf(Promise);
  }
  const revoked = await two.identity.revokeApiKey(call, apiKey.id);
  expect(revoked).toEqual({ ...apiKey, revokeTime: expect.any(Date) });
  expect(await rejectionReason(() => two.identity.authenticate(secret))).toBe("API_KEY_ENDED");
  await expect
    .poll(() => rejectionReason(() => one.identity.authenticate(secret)).catch(() => "GOOD"), {
      timeout: 200,
      interval: 5,
    })
    .toBe("API_KEY_ENDED");
  // Whoever still has it has guessed nothing, and is known by that, where it was never seen before too.
  const late = await openIdentity({ site });
  const refuse = () => {
    throw new AppError("exhausted", "Too many.", { reason: "REFUSED" });
  };
  expect(await rejectionReason(() => late.identity.authenticate(secret))).toBe("API_KEY_ENDED");
  expect(await rejectionReason(() => late.identity.authenticate(secret, refuse))).toBe("API_KEY_ENDED");
  // Another key of the same service goes on.
  expect(await one.identity.authenticate(other.secret)).toMatchObject({ keyId: other.apiKey.id });
  expect(await rejectionReason(() => one.identity.revokeApiKey(call, apiKey.id))).toBe("API_KEY_REVOKED");
  expect(await rejectionReason(() => one.identity.revokeApiKey(call, site.namespace))).toBe(
    "API_KEY_NOT_FOUND",
  );
});

test("a key that expires is good until then, although it is known", async () => {
  const clock = createTestClock();
  const { identity } = await openIdentity({ clock });
  const expireTime = new Date(clock.now().getTime() + 60_000);
  const { secret } = await identity.createApiKey(call, { ...warehouse, expireTime });
  await expect.poll(() => identity.authenticate(secret)).not.toBeInstanceOf(Promise);
  clock.advance(59_000);
  expect(await identity.authenticate(secret)).toMatchObject({ kind: "service" });
  clock.advance(1_000);
  expect(await rejectionReason(() => identity.authenticate(secret))).toBe("API_KEY_ENDED");
  const late = { ...warehouse, expireTime };
  expect(await rejectionReason(() => identity.createApiKey(call, late))).toBe("INVALID_FIELD");
});

test("keys are listed newest first, the revoked ones too", async () => {
  const { identity } = await openIdentity();
  const made = [];
  for (let n = 0; n < 3; n += 1) made.unshift((await identity.createApiKey(call, warehouse)).apiKey);
  const revoked = await identity.revokeApiKey(call, made[1]?.id ?? "");
  const all = (await identity.listApiKeys(call, page)).items;
  expect(all).toEqual([made[0], revoked, made[2]]);
  const first = await identity.listApiKeys(call, { pageSize: 2, pageToken: "" });
  const rest = await identity.listApiKeys(call, { pageSize: 2, pageToken: first.nextPageToken });
  expect([...first.items, ...rest.items]).toEqual(all);
});
