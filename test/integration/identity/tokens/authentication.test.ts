import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { openRedis } from "../../../../src/infra/redis/redis.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  callAs,
  createSharedStores,
  credentialStatus,
  openIdentity,
  registerAccount,
  waitUntilCached,
} from "../../../support/identity/identity-instance.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";
import { silentLog } from "../../../support/log.ts";

/** Returns the entries in Redis of a namespace. */
async function readRedis(namespace: string): Promise<{ key: string; value: Buffer }[]> {
  const { client, close } = openRedis(inject("redisUrl"), silentLog);
  onTestFinished(close);
  await expect.poll(() => client.status, { timeout: 30_000 }).toBe("ready");
  const keys = await client.keys(`*{${namespace}}*`);
  const values = await Promise.all(keys.map((key) => client.getBuffer(key)));
  return keys.map((key, index) => ({ key, value: values[index] ?? Buffer.alloc(0) }));
}

describe("cached principals", () => {
  test("principals are never stored in Redis, so that write access to Redis gives no identity", async () => {
    const stores = await createSharedStores();
    const one = await openIdentity({ stores });
    const two = await openIdentity({ stores });
    const { tokens, account, principal } = await registerAccount(one);
    const key = { serviceAccount: "warehouse", scopes: ["ORDERS_READ"], expireTime: undefined };
    const { apiKey, secret } = await one.identity.createApiKey(internalCall(), key);
    for (const credential of [tokens.accessToken, secret]) await waitUntilCached([one, two], credential);
    const entries = await readRedis(stores.namespace);
    const identifying = ["CUSTOMER", "ORDERS_READ", account.id, account.customerId, apiKey.id];
    const leaks = entries.filter(({ value }) => identifying.some((text) => value.includes(text)));
    expect(leaks.map(({ key }) => key)).toEqual([]);
    expect(entries.map(({ key }) => key).filter((key) => key.includes("entry:"))).toEqual([]);
    expect(await two.identity.authenticate(tokens.accessToken)).toEqual(principal);
  });

  test("a cached access token is authenticated synchronously and without any query", async () => {
    const instance = await openIdentity();
    const { tokens, principal } = await registerAccount(instance);
    // Repeated, because a busy machine may miss heartbeats of Redis, and then nothing is taken from the cache.
    await vi.waitFor(
      async () => {
        await instance.identity.authenticate(tokens.accessToken);
        const readsBefore = instance.reads.length;
        const authenticate = () => instance.identity.authenticate(tokens.accessToken);
        const results = Array.from({ length: 1_000 }, authenticate);
        expect(results.every((result) => result === results[0])).toBe(true);
        expect(results[0]).toEqual(principal);
        expect(instance.reads.length).toBe(readsBefore);
      },
      { timeout: 30_000, interval: 20 },
    );
  });

  test("a change of role takes effect for access tokens that were issued before", async () => {
    const instance = await openIdentity();
    const { tokens, email } = await registerAccount(instance);
    for (const role of ["ADMIN", "STAFF", "CUSTOMER"] as const) {
      await instance.identity.setRole(internalCall(), email.toUpperCase(), role);
      expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ role });
    }
  });

  test("a change of role at one replica invalidates the cached principal at the other", async () => {
    const stores = await createSharedStores();
    const one = await openIdentity({ stores });
    const two = await openIdentity({ stores });
    const { tokens, email } = await registerAccount(one);
    await waitUntilCached([two], tokens.accessToken);
    for (const role of ["ADMIN", "CUSTOMER"] as const) {
      await one.identity.setRole(internalCall(), email, role);
      expect(await one.identity.authenticate(tokens.accessToken)).toMatchObject({ role });
      const principalAtTwo = async () => two.identity.authenticate(tokens.accessToken);
      await expect.poll(principalAtTwo, { timeout: 30_000 }).toMatchObject({ role });
    }
  });

  test("an access token expires after ten minutes, cached or not", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const { email, password, tokens } = await registerAccount(instance);
    const unused = (await instance.identity.signIn(callAs(), { email, password })).tokens;
    clock.advance(598_000);
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
    clock.advance(2_000);
    for (const { accessToken } of [tokens, unused]) {
      expect(await credentialStatus(instance, accessToken)).toBe("TOKEN_EXPIRED");
    }
  });

  test("an access token of a deleted customer is rejected until the customer is undeleted", async () => {
    const instance = await openIdentity();
    const { tokens, account } = await registerAccount(instance);
    await instance.customers.delete(internalCall(), account.customerId, "");
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("SESSION_ENDED");
    await instance.customers.undelete(internalCall(), account.customerId, "");
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
  });
});
