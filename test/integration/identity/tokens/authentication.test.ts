import { expect, inject, onTestFinished, test } from "vitest";
import { openRedis } from "../../../../src/infra/redis/redis.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import {
  createSharedStores,
  openIdentity,
  registerAccount,
} from "../../../support/identity/identity-instance.ts";
import { silentLog } from "../../../support/log.ts";

/** What Redis holds for a shop, values with their keys. */
async function held(namespace: string): Promise<{ key: string; value: Buffer }[]> {
  const { client, close } = openRedis(inject("redisUrl"), silentLog);
  onTestFinished(close);
  await expect.poll(() => client.status).toBe("ready");
  const keys = await client.keys(`*{${namespace}}*`);
  const values = await Promise.all(keys.map((key) => client.getBuffer(key)));
  return keys.map((key, index) => ({ key, value: values[index] ?? Buffer.alloc(0) }));
}

test("who somebody is stands nowhere in Redis, so that nobody becomes another by what is written there", async () => {
  const site = await createSharedStores();
  const [one, two] = [await openIdentity({ site }), await openIdentity({ site })];
  const { tokens, account, principal } = await registerAccount(one);
  const key = { serviceAccount: "warehouse", scopes: ["ORDERS_READ"], expireTime: undefined };
  const { apiKey, secret } = await one.identity.createApiKey(internalCall(), key);
  for (const { identity } of [one, two]) {
    for (const shown of [tokens.accessToken, secret]) {
      // It is kept from now on, and would be shared by now.
      await expect.poll(() => identity.authenticate(shown)).not.toBeInstanceOf(Promise);
    }
  }
  const entries = await held(site.namespace);
  const about = ["CUSTOMER", "ORDERS_READ", account.id, account.customerId, apiKey.id];
  const telling = entries.filter(({ value }) => about.some((text) => value.includes(text)));
  expect(telling.map(({ key }) => key)).toEqual([]);
  expect(entries.map(({ key }) => key).filter((key) => key.includes("entry:"))).toEqual([]);
  expect(await two.identity.authenticate(tokens.accessToken)).toEqual(principal);
});

test("a role that changes at one instance has changed at all, at once", async () => {
  const site = await createSharedStores();
  const [one, two] = [await openIdentity({ site }), await openIdentity({ site })];
  const { tokens, email } = await registerAccount(one);
  await expect.poll(() => two.identity.authenticate(tokens.accessToken)).not.toBeInstanceOf(Promise);
  for (const role of ["ADMIN", "CUSTOMER"] as const) {
    await one.identity.setRole(internalCall(), email, role);
    expect(await one.identity.authenticate(tokens.accessToken)).toMatchObject({ role });
    const roleThere = async () => two.identity.authenticate(tokens.accessToken);
    await expect.poll(roleThere, { timeout: 200, interval: 5 }).toMatchObject({ role });
  }
});
