import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Code, createClient } from "../../../src/client/client.ts";
import { createSession } from "../../../src/client/session.ts";
import { serviceError } from "../../support/client/sign-in-service.ts";
import {
  createSignedInClient,
  proxy,
  runConcurrently,
  sentMethods,
  service,
} from "../../support/client/signed-in-client.ts";

describe("a refresh that fails while the access token is valid", () => {
  test.each(["503", "reset before", "reset after"] as const)(
    "a refresh that fails by %s fails no call and is postponed for all clients that share the store",
    async (fault) => {
      const { client, store } = await createSignedInClient();
      const other = createClient({ baseUrl: proxy.url, session: store });
      store.makeRefreshDue();
      proxy.failNext(fault);
      await runConcurrently(() => Promise.all([client.catalog.listBrands({}), other.catalog.listBrands({})]));
      await client.catalog.listBrands({});
      expect(new Set(service.state.authorizations.filter((authorization) => authorization !== null))).toEqual(
        new Set(["Bearer a1"]),
      );
      expect(sentMethods().filter((name) => name === "RefreshSession")).toHaveLength(1);
    },
  );

  test("a refresh beyond the rate limit fails neither calls nor streams", async () => {
    const { client, store } = await createSignedInClient({
      baseUrl: service.http2Url,
      transport: createGrpcTransport,
    });
    store.makeRefreshDue();
    service.state.refreshError = serviceError("RATE_LIMITED", Code.ResourceExhausted);
    await client.catalog.importProducts(
      (async function* () {
        yield {};
      })(),
    );
    expect(service.state.authorizations).toEqual([null, "Bearer a1"]);
  });

  test.each([
    ["a minute", 45_000, 60_000],
    ["12 seconds", 5_000, 12_000],
    ["3 seconds", 3_000, 3_000],
  ])(
    "with %s until the token expires, a failed refresh is repeated after %i ms",
    async (_, delayMs, remainingMs) => {
      vi.useFakeTimers({ toFake: ["Date"] });
      onTestFinished(() => void vi.useRealTimers());
      const { client, store } = await createSignedInClient();
      store.makeRefreshDue(remainingMs);
      proxy.failNext("reset before");
      await client.catalog.listBrands({});
      expect((await store.load())?.refreshAtMs).toBe(Date.now() + delayMs);
      store.makeRefreshDue();
      await client.catalog.listBrands({});
      expect(service.state.authorizations.at(-1)).toBe("Bearer a2");
    },
  );

  test("a postponed refresh is repeated immediately for a call whose token is rejected", async () => {
    const { client, store } = await createSignedInClient();
    store.makeRefreshDue();
    service.state.expiredUpTo = 1;
    proxy.failNext("reset before");
    await client.catalog.listBrands({});
    expect(sentMethods()).toEqual(["RefreshSession", "ListBrands", "RefreshSession", "ListBrands"]);
    expect(store.accessToken()).toBe("a2");
  });

  test("a rejected token is refreshed again after a concurrent refresh was postponed", async () => {
    const { client, store } = await createSignedInClient();
    const { tokens } = createSession(store, "another service", () => client.identity);
    store.makeRefreshDue();
    const { promise, reject: failRefresh } = Promise.withResolvers<void>();
    service.state.refreshBarrier = promise;
    const dueToken = tokens.getAccessToken();
    await expect.poll(() => service.state.refreshes).toHaveLength(1);
    const replacement = tokens.replaceAccessToken("a1");
    delete service.state.refreshBarrier;
    failRefresh(serviceError("RATE_LIMITED", Code.ResourceExhausted));
    expect(await Promise.all([dueToken, replacement])).toEqual(["a1", "a2"]);
    expect(service.state.refreshes).toEqual(["r1", "r1"]);
  });
});
