import { afterEach, beforeEach } from "vitest";
import { type ClientOptions, createClient } from "../../../src/client/client.ts";
import { type FlakyProxy, startFlakyProxy } from "./flaky-proxy.ts";
import { type SignInService, startSignInService } from "./sign-in-service.ts";
import { createTokenStore } from "./token-store.ts";

/** A service and a flaky proxy before it, new for each test of a file that imports this one. */
export let service: SignInService;
export let proxy: FlakyProxy;
beforeEach(async () => {
  service = await startSignInService();
  proxy = await startFlakyProxy(service.url);
});
afterEach(async () => {
  await proxy.close();
  service.close();
});

export const credentials = { email: "ann@example.com", password: "correct horse" };

/** Creates a client that has signed in through the proxy, with its token store. */
export async function createSignedInClient(options: Partial<ClientOptions> = {}) {
  const store = createTokenStore();
  const client = createClient({ baseUrl: proxy.url, session: store, ...options });
  await client.session.signIn(credentials);
  service.state.authorizations.length = 0;
  proxy.requests.length = 0;
  return { client, store };
}

/** Returns the names of the methods that were sent through the proxy. */
export const sentMethods = () => proxy.requests.map(({ path }) => path.replace(/.*\//, ""));

/** Starts twenty calls concurrently. */
export const runConcurrently = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: 20 }, work));
