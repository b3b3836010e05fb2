import { afterAll, beforeAll, expect, test } from "vitest";
import { Code, createClient, errorDetails } from "../../../src/client/client.ts";
import { createTokenStore } from "../../support/client/token-store.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

const credentials = { email: "ann@example.com", password: "correct horse" };
const runConcurrently = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 20 }, work));

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
});
afterAll(() => shop.close());

test("clients that share a store share a session, its refresh and its end", async () => {
  const store = createTokenStore();
  const [client, other] = [1, 2].map(() => createClient({ baseUrl: shop.url, session: store }));
  if (client === undefined || other === undefined) throw new Error("no clients");
  const account = await client.session.register({ ...credentials, name: "Ann" });
  const first = store.accessToken();
  store.makeRefreshDue();
  await runConcurrently(async () => {
    for (const { identity } of [client, other]) {
      expect((await identity.getMe({})).account).toEqual(account);
    }
  });
  expect(store.accessToken()).not.toBe(first);
  expect((await other.identity.listSessions({})).sessions).toHaveLength(1);
  await client.session.signOut();
  const error = await other.identity.getMe({}).catch(errorDetails);
  expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "SIGN_IN_REQUIRED" });
});

test("a session that another client revokes ends in this client", async () => {
  const store = createTokenStore();
  const here = createClient({ baseUrl: shop.url, session: store });
  await here.session.register({ ...credentials, email: "bob@example.com", name: "Bob" });
  const there = createClient({ baseUrl: shop.url });
  await there.session.signIn({ ...credentials, email: "bob@example.com" });
  const { sessions } = await there.identity.listSessions({});
  await there.identity.revokeSession({ id: sessions.find(({ current }) => !current)?.id ?? "" });
  expect(await here.identity.getMe({}).catch(errorDetails)).toMatchObject({ code: Code.Unauthenticated });
  expect(store.accessToken()).toBeUndefined();
  await here.catalog.listBrands({});
});
