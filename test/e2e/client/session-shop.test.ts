import { afterAll, beforeAll, expect, test } from "vitest";
import { Code, createClient, errorDetails } from "../../../src/client/client.ts";
import { createTokenStore } from "../../support/client/token-store.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

const ann = { email: "ann@example.com", password: "correct horse" };
const manyTimes = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 20 }, work));

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
});
afterAll(() => shop.close());

test("clients that share a store go through a session together, to its end", async () => {
  const shelf = createTokenStore();
  const [client, other] = [1, 2].map(() => createClient({ baseUrl: shop.url, session: shelf }));
  if (client === undefined || other === undefined) throw new Error("no clients");
  const account = await client.session.register({ ...ann, name: "Ann" });
  const first = shelf.holds();
  shelf.age();
  await manyTimes(async () => {
    for (const { identity } of [client, other]) {
      expect((await identity.getMe({})).account).toEqual(account);
    }
  });
  expect(shelf.holds()).not.toBe(first);
  expect((await other.identity.listSessions({})).sessions).toHaveLength(1);
  await client.session.signOut();
  const error = await other.identity.getMe({}).catch(errorDetails);
  expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "SIGN_IN_REQUIRED" });
});

test("a session that is revoked elsewhere ends here", async () => {
  const shelf = createTokenStore();
  const here = createClient({ baseUrl: shop.url, session: shelf });
  await here.session.register({ ...ann, email: "bob@example.com", name: "Bob" });
  const there = createClient({ baseUrl: shop.url });
  await there.session.signIn({ ...ann, email: "bob@example.com" });
  const { sessions } = await there.identity.listSessions({});
  await there.identity.revokeSession({ id: sessions.find(({ current }) => !current)?.id ?? "" });
  expect(await here.identity.getMe({}).catch(errorDetails)).toMatchObject({ code: Code.Unauthenticated });
  expect(shelf.holds()).toBeUndefined();
  await here.catalog.listBrands({});
});
