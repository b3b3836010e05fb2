import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Code, createClient } from "../../../src/client/client.ts";
import { createSession } from "../../../src/client/session.ts";
import { manyTimes, road, sent, shop, signedIn } from "../../support/signed-in.ts";

describe("a refresh that fails while the access token is good", () => {
  test.each(["503", "reset before", "reset after"] as const)(
    "by %s fails no call, and is not tried again at once, by nobody who shares the store",
    async (fault) => {
      const { client, shelf } = await signedIn();
      const other = createClient({ baseUrl: road.url, session: shelf });
      shelf.age();
      road.goWrong(fault);
      await manyTimes(() => Promise.all([client.catalog.listBrands({}), other.catalog.listBrands({})]));
      await client.catalog.listBrands({});
      expect(new Set(shop.state.shown.filter((shown) => shown !== null))).toEqual(new Set(["Bearer a1"]));
      expect(sent().filter((name) => name === "RefreshSession")).toHaveLength(1);
    },
  );

  test("for the shop is too busy fails no call, nor a stream", async () => {
    const { client, shelf } = await signedIn({ baseUrl: shop.http2Url, transport: createGrpcTransport });
    shelf.age();
    shop.state.refusal = shop.refused("LIMIT", Code.ResourceExhausted);
    await client.catalog.importProducts(
      (async function* () {
        yield {};
      })(),
    );
    expect(shop.state.shown).toEqual([null, "Bearer a1"]);
  });

  test.each([
    ["a minute", 60_000, 45_000],
    ["12 seconds", 12_000, 5_000],
    ["3 seconds", 3_000, 3_000],
  ])("with %s left is tried again shortly before the end, some seconds later", async (_, leftMs, waitMs) => {
    const { client, shelf } = await signedIn();
    shelf.age(leftMs);
    road.goWrong("reset before");
    await client.catalog.listBrands({});
    const waitedMs = ((await shelf.load())?.refreshAtMs ?? 0) - Date.now();
    expect(waitedMs).toBeGreaterThan(waitMs - 2_000);
    expect(waitedMs).toBeLessThanOrEqual(waitMs);
    shelf.age();
    await client.catalog.listBrands({});
    expect(shop.state.shown.at(-1)).toBe("Bearer a2");
  });

  test("is tried again for a call whose token is refused all the same", async () => {
    const { client, shelf } = await signedIn();
    shelf.age();
    shop.state.expired = 1;
    road.goWrong("reset before");
    await client.catalog.listBrands({});
    expect(sent()).toEqual(["RefreshSession", "ListBrands", "RefreshSession", "ListBrands"]);
    expect(shelf.holds()).toBe("a2");
  });

  test("is not the last word for who knows meanwhile that the token is refused", async () => {
    const { client, shelf } = await signedIn();
    const { tokens } = createSession(shelf, "another name", () => client.identity);
    shelf.age();
    const { promise, reject: fail } = Promise.withResolvers<void>();
    shop.state.hold = promise;
    const due = tokens.accessToken();
    await expect.poll(() => shop.state.refreshes).toHaveLength(1);
    const refused = tokens.replace("a1");
    delete shop.state.hold;
    fail(shop.refused("LIMIT", Code.ResourceExhausted));
    expect(await Promise.all([due, refused])).toEqual(["a1", "a2"]);
    expect(shop.state.refreshes).toEqual(["r1", "r1"]);
  });
});
