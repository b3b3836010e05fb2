import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Code, createClient } from "../../../src/client/client.ts";
import { createSession } from "../../../src/client/session.ts";
import {
  createSignedInClient,
  proxy,
  runConcurrently,
  sentMethods,
  service,
} from "../../support/client/signed-in-client.ts";

describe("a refresh that fails while the access token is good", () => {
  test.each(["503", "reset before", "reset after"] as const)(
    "by %s fails no call, and is not tried again at once, by nobody who shares the store",
    async (fault) => {
      const { client, shelf } = await createSignedInClient();
      const other = createClient({ baseUrl: proxy.url, session: shelf });
      shelf.age();
      proxy.goWrong(fault);
      await runConcurrently(() => Promise.all([client.catalog.listBrands({}), other.catalog.listBrands({})]));
      await client.catalog.listBrands({});
      expect(new Set(service.state.shown.filter((shown) => shown !== null))).toEqual(new Set(["Bearer a1"]));
      expect(sentMethods().filter((name) => name === "RefreshSession")).toHaveLength(1);
    },
  );

  test("for the shop is too busy fails no call, nor a stream", async () => {
    const { client, shelf } = await createSignedInClient({
      baseUrl: service.http2Url,
      transport: createGrpcTransport,
    });
    shelf.age();
    service.state.refusal = service.refused("LIMIT", Code.ResourceExhausted);
    await client.catalog.importProducts(
      (async function* () {
        yield {};
      })(),
    );
    expect(service.state.shown).toEqual([null, "Bearer a1"]);
  });

  test.each([
    ["a minute", 60_000, 45_000],
    ["12 seconds", 12_000, 5_000],
    ["3 seconds", 3_000, 3_000],
  ])("with %s left is tried again shortly before the end, some seconds later", async (_, leftMs, waitMs) => {
    const { client, shelf } = await createSignedInClient();
    shelf.age(leftMs);
    proxy.goWrong("reset before");
    await client.catalog.listBrands({});
    const waitedMs = ((await shelf.load())?.refreshAtMs ?? 0) - Date.now();
    expect(waitedMs).toBeGreaterThan(waitMs - 2_000);
    expect(waitedMs).toBeLessThanOrEqual(waitMs);
    shelf.age();
    await client.catalog.listBrands({});
    expect(service.state.shown.at(-1)).toBe("Bearer a2");
  });

  test("is tried again for a call whose token is refused all the same", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.age();
    service.state.expired = 1;
    proxy.goWrong("reset before");
    await client.catalog.listBrands({});
    expect(sentMethods()).toEqual(["RefreshSession", "ListBrands", "RefreshSession", "ListBrands"]);
    expect(shelf.holds()).toBe("a2");
  });

  test("is not the last word for who knows meanwhile that the token is refused", async () => {
    const { client, shelf } = await createSignedInClient();
    const { tokens } = createSession(shelf, "another name", () => client.identity);
    shelf.age();
    const { promise, reject: fail } = Promise.withResolvers<void>();
    service.state.hold = promise;
    const due = tokens.accessToken();
    await expect.poll(() => service.state.refreshes).toHaveLength(1);
    const refused = tokens.replace("a1");
    delete service.state.hold;
    fail(service.refused("LIMIT", Code.ResourceExhausted));
    expect(await Promise.all([due, refused])).toEqual(["a1", "a2"]);
    expect(service.state.refreshes).toEqual(["r1", "r1"]);
  });
});
