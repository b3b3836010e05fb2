import { afterEach, beforeEach } from "vitest";
import { type ClientOptions, createClient } from "../../src/client/client.ts";
import { createShelf } from "./client-product-fixtures.ts";
import { startBadRoad } from "./flaky-transport.ts";
import { startSignInShop } from "./sign-in-service.ts";

/** A shop to sign in at, and the road to it, anew for each test of a file that imports them. */
export let shop: Awaited<ReturnType<typeof startSignInShop>>;
export let road: Awaited<ReturnType<typeof startBadRoad>>;
beforeEach(async () => {
  shop = await startSignInShop();
  road = await startBadRoad(shop.url);
});
afterEach(async () => {
  await road.close();
  shop.close();
});

export const ann = { email: "ann@example.com", password: "correct horse" };

/** A client, signed in. */
export async function signedIn(options: Partial<ClientOptions> = {}) {
  const shelf = createShelf();
  const client = createClient({ baseUrl: road.url, session: shelf, ...options });
  await client.session.signIn(ann);
  shop.state.shown.length = 0;
  road.requests.length = 0;
  return { client, shelf };
}

/** The methods that were called on the road. */
export const sent = () => road.requests.map(({ path }) => path.replace(/.*\//, ""));

/** So many at once. */
export const manyTimes = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 20 }, work));
