import { expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  createSharedStores,
  credentialStatus,
  openIdentity,
  rejectionReason,
  waitUntilCached,
} from "../../../support/identity/identity-instance.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";

const call = internalCall();
const warehouseKey = { serviceAccount: "warehouse", scopes: ["ORDERS_READ"], expireTime: undefined };
const rejectLookup = () => {
  throw new AppError("resource_exhausted", "Too many.", { reason: "LOOKUP_REJECTED" });
};

test("an API key identifies its service account and scopes, and its secret is not stored", async () => {
  const { identity, database } = await openIdentity();
  const scopes = ["ORDERS_WRITE", "ORDERS_READ", "ORDERS_READ"];
  const { apiKey, secret } = await identity.createApiKey(call, { ...warehouseKey, scopes });
  expect(secret).toMatch(/^ck_[\w-]{43}$/);
  expect(secret.startsWith(apiKey.secretPrefix)).toBe(true);
  expect(apiKey.secretPrefix).toHaveLength(9);
  for (let round = 0; round < 2; round += 1) {
    expect(await identity.authenticate(secret)).toEqual({
      kind: "service",
      keyId: apiKey.id,
      serviceAccount: "warehouse",
      scopes: new Set(["ORDERS_READ", "ORDERS_WRITE"]),
    });
  }
  const [row] = await database.query<{ text: string }>("select api_key::text as text from api_key");
  for (const form of [secret.slice(9), Buffer.from(secret).toString("hex", 9)]) {
    expect(row?.text).not.toContain(form);
  }
});

test("an unknown API key is rejected, also one of the right form", async () => {
  const instance = await openIdentity();
  const { secret } = await instance.identity.createApiKey(call, warehouseKey);
  const forgeries = [`ck_${"A".repeat(43)}`, secret.slice(0, -1), `${secret}A`, "ck_", secret.toUpperCase()];
  for (const forged of forgeries) {
    const reason = forged.startsWith("ck_") ? "API_KEY_INVALID" : "TOKEN_INVALID";
    expect(await credentialStatus(instance, forged), forged).toBe(reason);
  }
  expect(await credentialStatus(instance, secret)).toBe("VALID");
});

test("the lookup of an unknown API key can be rejected before it reaches the database", async () => {
  const instance = await openIdentity();
  const { identity, reads } = instance;
  const { secret } = await identity.createApiKey(call, warehouseKey);
  let lookups = 0;
  const countLookup = () => {
    lookups += 1;
  };
  await identity.authenticate(secret, countLookup);
  expect(lookups).toBe(1);
  // A cached key is not looked up again, so it is never rejected.
  expect(await identity.authenticate(secret, rejectLookup)).toMatchObject({ kind: "service" });
  await waitUntilCached([instance], secret);
  expect(await identity.authenticate(secret, rejectLookup)).toMatchObject({ kind: "service" });
  const readsBefore = reads.length;
  const unknownKey = `ck_${"A".repeat(43)}`;
  expect(await rejectionReason(() => identity.authenticate(unknownKey, rejectLookup))).toBe(
    "LOOKUP_REJECTED",
  );
  expect(reads.length).toBe(readsBefore);
  expect(await rejectionReason(() => identity.authenticate(unknownKey, countLookup))).toBe("API_KEY_INVALID");
  expect(lookups).toBe(2);
});

test("revoking an API key at one replica invalidates it at every replica, and no other key", async () => {
  const stores = await createSharedStores();
  const one = await openIdentity({ stores });
  const two = await openIdentity({ stores });
  const { apiKey, secret } = await one.identity.createApiKey(call, warehouseKey);
  const other = await one.identity.createApiKey(call, warehouseKey);
  await waitUntilCached([one, two], secret);
  const revoked = await two.identity.revokeApiKey(call, apiKey.id);
  expect(revoked).toEqual({ ...apiKey, revokeTime: expect.any(Date) });
  expect(await credentialStatus(two, secret)).toBe("API_KEY_ENDED");
  await expect.poll(() => credentialStatus(one, secret), { timeout: 30_000 }).toBe("API_KEY_ENDED");
  expect(await one.identity.authenticate(other.secret)).toMatchObject({ keyId: other.apiKey.id });
  expect(await rejectionReason(() => one.identity.revokeApiKey(call, apiKey.id))).toBe("API_KEY_REVOKED");
  const unknownId = stores.namespace;
  expect(await rejectionReason(() => one.identity.revokeApiKey(call, unknownId))).toBe("API_KEY_NOT_FOUND");
});

test("a revoked API key counts as known, also at a replica that has never seen it", async () => {
  const stores = await createSharedStores();
  const { identity } = await openIdentity({ stores });
  const { apiKey, secret } = await identity.createApiKey(call, warehouseKey);
  await identity.revokeApiKey(call, apiKey.id);
  const late = await openIdentity({ stores });
  expect(await credentialStatus(late, secret)).toBe("API_KEY_ENDED");
  const withRejectedLookup = () => late.identity.authenticate(secret, rejectLookup);
  expect(await rejectionReason(withRejectedLookup)).toBe("API_KEY_ENDED");
});

test("a cached API key is valid until it expires", async () => {
  const clock = createTestClock();
  const instance = await openIdentity({ clock });
  const { identity } = instance;
  const expireTime = new Date(clock.now().getTime() + 60_000);
  const { secret } = await identity.createApiKey(call, { ...warehouseKey, expireTime });
  await waitUntilCached([instance], secret);
  clock.advance(59_999);
  expect(await credentialStatus(instance, secret)).toBe("VALID");
  clock.advance(1);
  expect(await credentialStatus(instance, secret)).toBe("API_KEY_ENDED");
  const createExpired = () => identity.createApiKey(call, { ...warehouseKey, expireTime });
  expect(await rejectionReason(createExpired)).toBe("INVALID_FIELD");
});

test("API keys are listed newest first, revoked ones included", async () => {
  const { identity } = await openIdentity();
  const created = [];
  for (let n = 0; n < 3; n += 1) created.unshift((await identity.createApiKey(call, warehouseKey)).apiKey);
  const revoked = await identity.revokeApiKey(call, created[1]?.id ?? "");
  const all = (await identity.listApiKeys(call, { pageSize: 0, pageToken: "" })).items;
  expect(all).toEqual([created[0], revoked, created[2]]);
  const first = await identity.listApiKeys(call, { pageSize: 2, pageToken: "" });
  const second = await identity.listApiKeys(call, { pageSize: 2, pageToken: first.nextPageToken });
  expect([...first.items, ...second.items]).toEqual(all);
});
