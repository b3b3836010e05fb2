import { setImmediate } from "node:timers/promises";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Code, createClient, errorDetails } from "../../../src/client/client.ts";
import { serviceError } from "../../support/client/sign-in-service.ts";
import {
  createSignedInClient,
  credentials,
  proxy,
  runConcurrently,
  sentMethods,
  service,
} from "../../support/client/signed-in-client.ts";
import { createTokenStore } from "../../support/client/token-store.ts";

test.each(["localhost:8080", "//localhost:8080", "localhost", "ftp://localhost", ""])(
  "the address %j without http or https is rejected before any call",
  (baseUrl) => {
    expect(() => createClient({ baseUrl })).toThrow(
      new TypeError("baseUrl must start with http:// or https://, such as http://localhost:8080."),
    );
  },
);

describe("signing in", () => {
  test.each(["signIn", "register"] as const)(
    "after %s calls carry the session's token instead of the given one until sign-out",
    async (method) => {
      const client = createClient({ baseUrl: service.url, token: "key" });
      await client.catalog.listBrands({});
      expect(await client.session[method]({ ...credentials, name: "Ann" })).toMatchObject({
        email: credentials.email,
      });
      await client.catalog.listBrands({});
      await client.session.signOut();
      await client.catalog.listBrands({});
      // Neither the sign-in nor the sign-out carries a token.
      expect(service.state.authorizations).toEqual(["Bearer key", null, "Bearer a1", null, "Bearer key"]);
      await client.session.signOut();
      expect(service.state.authorizations).toHaveLength(5);
    },
  );

  test("a new client on the same store continues the session", async () => {
    const { store } = await createSignedInClient();
    await createClient({ baseUrl: service.url, session: store }).catalog.listBrands({});
    expect(service.state.authorizations).toEqual(["Bearer a1"]);
  });

  test("a sign-in waits for a refresh of the old session, and then replaces it", async () => {
    const { client, store } = await createSignedInClient();
    store.makeRefreshDue();
    const { promise, resolve: endRefresh } = Promise.withResolvers<void>();
    service.state.refreshBarrier = promise;
    const call = client.catalog.listBrands({});
    await expect.poll(() => service.state.refreshes).toHaveLength(1);
    const signIn = client.session.signIn(credentials);
    for (let turn = 0; turn < 100; turn += 1) await setImmediate();
    expect(sentMethods()).toEqual(["RefreshSession"]);
    endRefresh();
    await Promise.all([call, signIn]);
    expect(store.accessToken()).toBe("a3");
  });

  test("the authorization header of a call takes precedence over the session and triggers no refresh", async () => {
    const { client } = await createSignedInClient();
    service.state.expiredUpTo = 1;
    const error = await client.catalog
      .listBrands({}, { headers: { authorization: "Bearer a1" } })
      .catch(errorDetails);
    expect(error).toMatchObject({ reason: "TOKEN_EXPIRED" });
    expect(service.state.refreshes).toEqual([]);
  });
});

describe("access tokens", () => {
  test("a rejected access token is refreshed once for 20 concurrent calls, which all succeed", async () => {
    const { client } = await createSignedInClient();
    service.state.expiredUpTo = 1;
    await runConcurrently(() => client.catalog.listBrands({}));
    expect(service.state.refreshes).toEqual(["r1"]);
    await client.catalog.listBrands({});
    expect(service.state.authorizations.at(-1)).toBe("Bearer a2");
  });

  test("an access token that is about to expire is refreshed once before 20 concurrent calls", async () => {
    const { client, store } = await createSignedInClient();
    store.makeRefreshDue();
    await runConcurrently(() => client.catalog.listBrands({}));
    expect(service.state.authorizations).toEqual([null, ...Array(20).fill("Bearer a2")]);
  });

  test("clients that share a store refresh the session once", async () => {
    const { client, store } = await createSignedInClient();
    const other = createClient({ baseUrl: proxy.url, session: store });
    for (let round = 1; round <= 5; round++) {
      if (round % 2 === 0) store.makeRefreshDue();
      else service.state.expiredUpTo = round;
      await runConcurrently(() => Promise.all([client.catalog.listBrands({}), other.catalog.listBrands({})]));
      expect(service.state.refreshes).toHaveLength(round);
    }
  });

  test("sign-in and refresh run within the lock of the store", async () => {
    const steps: string[] = [];
    const lock = async <T>(work: () => Promise<T>): Promise<T> => {
      steps.push("locked");
      return work().finally(() => steps.push(`unlocked at ${store.accessToken()}`));
    };
    const store = { ...createTokenStore(), lock };
    const { client } = await createSignedInClient({ session: store });
    store.makeRefreshDue();
    await client.catalog.listBrands({});
    expect(steps).toEqual(["locked", "unlocked at a1", "locked", "unlocked at a2"]);
  });

  test("a rejected access token that another client has replaced is read from the store", async () => {
    const { client, store } = await createSignedInClient();
    const { load } = store;
    // What the slow client has read is replaced before the service responds.
    const slowClient = createClient({ baseUrl: proxy.url, session: { ...store, load: () => first() } });
    let first = async () => {
      const tokens = await load();
      first = load;
      store.makeRefreshDue();
      await client.catalog.listBrands({});
      service.state.expiredUpTo = 1;
      return tokens;
    };
    await slowClient.catalog.listBrands({});
    expect(service.state.refreshes).toEqual(["r1"]);
  });

  test("a call is repeated only once when the new access token is rejected too", async () => {
    const { client } = await createSignedInClient();
    service.state.expiredUpTo = 99;
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "TOKEN_EXPIRED" });
    expect(sentMethods()).toEqual(["ListBrands", "RefreshSession", "ListBrands"]);
  });

  test("a wrong password triggers no refresh", async () => {
    const { client } = await createSignedInClient();
    const error = await client.identity.changePassword({}).catch(errorDetails);
    expect(error).toMatchObject({ reason: "PASSWORD_WRONG" });
    expect(sentMethods()).toEqual(["ChangePassword"]);
  });

  test("a wrong clock does not cause a refresh before each call", async () => {
    service.state.lifetimeMs = -3_600_000;
    const { client, store } = await createSignedInClient();
    await client.catalog.listBrands({});
    await client.catalog.listBrands({});
    service.state.expiredUpTo = 1;
    await client.catalog.listBrands({});
    expect(service.state.refreshes).toEqual(["r1"]);
    service.state.lifetimeMs = 600_000;
    service.state.expiredUpTo = 2;
    await client.catalog.listBrands({});
    expect((await store.load())?.refreshAtMs).toBeGreaterThan(Date.now() + 500_000);
  });

  test("streams carry the access token, which is refreshed before them when it is due", async () => {
    const { client, store } = await createSignedInClient({
      baseUrl: service.http2Url,
      transport: createGrpcTransport,
    });
    const rows = async function* () {
      yield {};
    };
    await client.catalog.importProducts(rows());
    store.makeRefreshDue();
    await client.catalog.importProducts(rows());
    expect(service.state.authorizations).toEqual(["Bearer a1", null, "Bearer a2"]);
  });

  test("a refresh that outlasts the deadline of a call serves the next call", async () => {
    const { client, store } = await createSignedInClient();
    store.makeRefreshDue();
    const { promise, resolve: endRefresh } = Promise.withResolvers<void>();
    service.state.refreshBarrier = promise;
    const error = await client.catalog.listBrands({}, { timeoutMs: 50 }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    endRefresh();
    await client.catalog.listBrands({});
    expect(service.state.refreshes).toEqual(["r1"]);
  });
});

describe("refreshes", () => {
  test.each(["has expired", "is about to end"])(
    "a rejected refresh of a token that %s ends the session, and later calls are anonymous",
    async (tokenState) => {
      const { client, store } = await createSignedInClient();
      if (tokenState === "has expired") service.state.expiredUpTo = 1;
      else store.makeRefreshDue();
      service.state.refreshError = serviceError("REFRESH_TOKEN_INVALID");
      const error = await client.catalog.listBrands({}).catch(errorDetails);
      expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "REFRESH_TOKEN_INVALID" });
      expect(store.accessToken()).toBeUndefined();
      await client.catalog.listBrands({});
      expect(service.state.authorizations.at(-1)).toBeNull();
    },
  );

  test("a session that was revoked elsewhere ends in the client too", async () => {
    const { client, store } = await createSignedInClient();
    service.state.hasEnded = true;
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ reason: "SESSION_ENDED" });
    expect(store.accessToken()).toBeUndefined();
    await client.catalog.listBrands({});
  });

  test("a refresh whose response is lost is not repeated for the failed calls, and the error explains the consequence", async () => {
    const { client, store } = await createSignedInClient();
    store.expire();
    proxy.failNext("reset after");
    const errors = await runConcurrently(() => client.catalog.listBrands({}).catch(errorDetails));
    for (const error of errors) {
      expect(error).toMatchObject({
        code: Code.Unavailable,
        message: expect.stringMatching(/^Failed to refresh the session: No response .* sign in again\.$/),
      });
    }
    expect(sentMethods()).toEqual(["RefreshSession"]);
    expect(store.accessToken()).toBe("a1");
    expect(await client.catalog.listBrands({}).catch(errorDetails)).toMatchObject({
      reason: "SESSION_ENDED",
    });
    expect(store.accessToken()).toBeUndefined();
  });

  test("a refresh that did not reach the service is repeated by the next call", async () => {
    const { client, store } = await createSignedInClient();
    store.expire();
    proxy.failNext("reset before");
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable });
    await client.catalog.listBrands({});
    expect(store.accessToken()).toBe("a2");
  });

  test("a refresh beyond the rate limit keeps the session", async () => {
    const { client, store } = await createSignedInClient();
    store.expire();
    service.state.refreshError = serviceError("RATE_LIMITED", Code.ResourceExhausted);
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.ResourceExhausted, reason: "RATE_LIMITED" });
    expect(store.accessToken()).toBe("a1");
  });
});

describe("signing out", () => {
  test("signing out needs no valid access token", async () => {
    const { client } = await createSignedInClient();
    service.state.expiredUpTo = 1;
    await client.session.signOut();
    expect(service.state.hasEnded).toBe(true);
    expect(sentMethods()).toEqual(["SignOut"]);
  });

  test("signing out deletes the tokens even when the service cannot be reached, and rejects", async () => {
    const { client, store } = await createSignedInClient();
    proxy.failNext("reset before");
    await expect(client.session.signOut()).rejects.toMatchObject({ code: Code.Unavailable });
    expect(store.accessToken()).toBeUndefined();
  });

  test("signing out in one client signs out all clients of the store", async () => {
    const { client, store } = await createSignedInClient();
    const other = createClient({ baseUrl: service.url, session: store });
    await client.session.signOut();
    await other.catalog.listBrands({});
    expect(service.state.authorizations.at(-1)).toBeNull();
  });
});
