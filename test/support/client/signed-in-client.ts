import { afterEach, beforeEach } from "vitest";
import { type ClientOptions, createClient } from "../../../src/client/client.ts";
import { startFlakyProxy } from "./flaky-proxy.ts";
import { startSignInService } from "./sign-in-service.ts";
import { createTokenStore } from "./token-store.ts";

/** A shop to sign in at, and the road to it, anew for each test of a file that imports them. */
export let service: Awaited<ReturnType<typeof startSignInService>>;
export let proxy: Awaited<ReturnType<typeof startFlakyProxy>>;
beforeEach(async () => {
  service = await startSignInService();
  proxy = await startFlakyProxy(service.url);
});
afterEach(async () => {
  await proxy.close();
  service.close();
});

export const credentials = { email: "ann@example.com", password: "correct horse" };

/** A client, signed in. */
export async function createSignedInClient(options: Partial<ClientOptions> = {}) {
  const store = createTokenStore();
  const client = createClient({ baseUrl: proxy.url, session: store, ...options });
  await client.session.signIn(credentials);
  service.state.shown.length = 0;
  proxy.requests.length = 0;
  return { client, shelf: store };
}

/** The methods that were called on the road. */
export const sentMethods = () => proxy.requests.map(({ path }) => path.replace(/.*\//, ""));

/** So many at once. */
export const runConcurrently = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 20 }, work));
