import { setTimeout } from "node:timers/promises";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Code, createClient, errorDetails } from "../../../src/client/client.ts";
import {
  createSignedInClient,
  credentials,
  proxy,
  runConcurrently,
  sentMethods,
  service,
} from "../../support/client/signed-in-client.ts";
import { createTokenStore } from "../../support/client/token-store.ts";

describe("whoever signs in", () => {
  test.each(["signIn", "register"] as const)("by %s calls as themselves until they sign out", async (way) => {
    const client = createClient({ baseUrl: service.url, token: "key" });
    await client.catalog.listBrands({});
    expect(await client.session[way]({ ...credentials, name: "Ann" })).toMatchObject({
      email: credentials.email,
    });
    await client.catalog.listBrands({});
    await client.session.signOut();
    await client.catalog.listBrands({});
    // Neither the sign-in nor the sign-out shows a token.
    expect(service.state.shown).toEqual(["Bearer key", null, "Bearer a1", null, "Bearer key"]);
    await client.session.signOut();
    expect(service.state.shown).toHaveLength(5);
  });

  test("is still signed in when the program starts again", async () => {
    const { shelf } = await createSignedInClient();
    await createClient({ baseUrl: service.url, session: shelf }).catalog.listBrands({});
    expect(service.state.shown).toEqual(["Bearer a1"]);
  });

  test("anew calls as who they are now, even while the old session is refreshed", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.age();
    const { promise, resolve: go } = Promise.withResolvers<void>();
    service.state.hold = promise;
    const call = client.catalog.listBrands({});
    await expect.poll(() => service.state.refreshes).toHaveLength(1);
    const again = client.session.signIn(credentials);
    await Promise.race([again, setTimeout(100)]);
    go();
    await Promise.all([call, again]);
    expect(shelf.holds()).toBe("a3");
  });

  test("may still give a call a header of its own, and then nothing is refreshed", async () => {
    const { client } = await createSignedInClient();
    service.state.expired = 1;
    const error = await client.catalog
      .listBrands({}, { headers: { authorization: "Bearer a1" } })
      .catch(errorDetails);
    expect(error).toMatchObject({ reason: "TOKEN_EXPIRED" });
    expect(service.state.refreshes).toEqual([]);
  });
});

describe("an access token", () => {
  test("that has expired is replaced once for 20 calls at once, and all succeed", async () => {
    const { client } = await createSignedInClient();
    service.state.expired = 1;
    await runConcurrently(() => client.catalog.listBrands({}));
    expect(service.state.refreshes).toEqual(["r1"]);
    await client.catalog.listBrands({});
    expect(service.state.shown.at(-1)).toBe("Bearer a2");
  });

  test("that is about to end is replaced first, once for 20 calls at once", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.age();
    await runConcurrently(() => client.catalog.listBrands({}));
    expect(service.state.shown).toEqual([null, ...Array(20).fill("Bearer a2")]);
  });

  test("is replaced once by clients that share a store", async () => {
    const { client, shelf } = await createSignedInClient();
    const other = createClient({ baseUrl: proxy.url, session: shelf });
    for (let round = 1; round <= 5; round++) {
      if (round % 2 === 0) shelf.age();
      else service.state.expired = round;
      await runConcurrently(() => Promise.all([client.catalog.listBrands({}), other.catalog.listBrands({})]));
      expect(service.state.refreshes).toHaveLength(round);
    }
  });

  test("is replaced within the lock that a store brings", async () => {
    const steps: string[] = [];
    const lock = async <T>(work: () => Promise<T>): Promise<T> => {
      steps.push("locked");
      return work().finally(() => steps.push(`unlocked at ${shelf.holds()}`));
    };
    const shelf = { ...createTokenStore(), lock };
    const { client } = await createSignedInClient({ session: shelf });
    shelf.age();
    await client.catalog.listBrands({});
    expect(steps).toEqual(["locked", "unlocked at a1", "locked", "unlocked at a2"]);
  });

  test("that somebody else has replaced is taken from the store", async () => {
    const { client, shelf } = await createSignedInClient();
    const { load } = shelf;
    // What it has read is old by the time that the shop answers.
    const slow = createClient({ baseUrl: proxy.url, session: { ...shelf, load: () => first() } });
    let first = async () => {
      const tokens = await load();
      first = load;
      shelf.age();
      await client.catalog.listBrands({});
      service.state.expired = 1;
      return tokens;
    };
    await slow.catalog.listBrands({});
    expect(service.state.refreshes).toEqual(["r1"]);
  });

  test("that is refused again at once is not replaced without end", async () => {
    const { client } = await createSignedInClient();
    service.state.expired = 99;
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "TOKEN_EXPIRED" });
    expect(sentMethods()).toEqual(["ListBrands", "RefreshSession", "ListBrands"]);
  });

  test("is not what is wrong with a wrong password", async () => {
    const { client } = await createSignedInClient();
    const error = await client.identity.changePassword({}).catch(errorDetails);
    expect(error).toMatchObject({ reason: "PASSWORD_WRONG" });
    expect(sentMethods()).toEqual(["ChangePassword"]);
  });

  test("is not replaced with each call where the clock is wrong", async () => {
    service.state.lifeMs = -3_600_000;
    const { client, shelf } = await createSignedInClient();
    await client.catalog.listBrands({});
    await client.catalog.listBrands({});
    service.state.expired = 1;
    await client.catalog.listBrands({});
    expect(service.state.refreshes).toEqual(["r1"]);
    service.state.lifeMs = 600_000;
    service.state.expired = 2;
    await client.catalog.listBrands({});
    expect((await shelf.load())?.refreshAtMs).toBeGreaterThan(Date.now() + 500_000);
  });

  test("goes with streams, and is replaced before them", async () => {
    const { client, shelf } = await createSignedInClient({
      baseUrl: service.http2Url,
      transport: createGrpcTransport,
    });
    const rows = async function* () {
      yield {};
    };
    await client.catalog.importProducts(rows());
    shelf.age();
    await client.catalog.importProducts(rows());
    expect(service.state.shown).toEqual(["Bearer a1", null, "Bearer a2"]);
  });

  test("is not waited for past the deadline of a call, and is there for the next", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.age();
    service.state.hold = setTimeout(300);
    const error = await client.catalog.listBrands({}, { timeoutMs: 50 }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    await client.catalog.listBrands({});
    expect(service.state.refreshes).toEqual(["r1"]);
  });
});

describe("a refresh", () => {
  test.each(["has expired", "is about to end"])(
    "that is refused when the token %s ends the session, and later calls are nobody's",
    async (how) => {
      const { client, shelf } = await createSignedInClient();
      if (how === "has expired") service.state.expired = 1;
      else shelf.age();
      service.state.refusal = service.refused("REFRESH_TOKEN_UNKNOWN");
      const error = await client.catalog.listBrands({}).catch(errorDetails);
      expect(error).toMatchObject({ code: Code.Unauthenticated, reason: "REFRESH_TOKEN_UNKNOWN" });
      expect(shelf.holds()).toBeUndefined();
      await client.catalog.listBrands({});
      expect(service.state.shown.at(-1)).toBeNull();
    },
  );

  test("shows when a session was ended elsewhere", async () => {
    const { client, shelf } = await createSignedInClient();
    service.state.hasEnded = true;
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ reason: "SESSION_ENDED" });
    expect(shelf.holds()).toBeUndefined();
    await client.catalog.listBrands({});
  });

  test("whose answer is lost is not sent again by itself, and the error says what may come", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.expire();
    proxy.goWrong("reset after");
    const errors = await runConcurrently(() => client.catalog.listBrands({}).catch(errorDetails));
    for (const error of errors) {
      expect(error).toMatchObject({
        code: Code.Unavailable,
        message: expect.stringMatching(/^The session could not be refreshed: No answer .* sign in anew\.$/),
      });
    }
    expect(sentMethods()).toEqual(["RefreshSession"]);
    expect(shelf.holds()).toBe("a1");
    expect(await client.catalog.listBrands({}).catch(errorDetails)).toMatchObject({
      reason: "SESSION_ENDED",
    });
    expect(shelf.holds()).toBeUndefined();
  });

  test("that did not reach the shop leaves the session, which goes on with the next call", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.expire();
    proxy.goWrong("reset before");
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable });
    await client.catalog.listBrands({});
    expect(shelf.holds()).toBe("a2");
  });

  test("that comes too often leaves the session", async () => {
    const { client, shelf } = await createSignedInClient();
    shelf.expire();
    service.state.refusal = service.refused("LIMIT", Code.ResourceExhausted);
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.ResourceExhausted, reason: "LIMIT" });
    expect(shelf.holds()).toBe("a1");
  });
});

describe("signing out", () => {
  test("needs no access token that is still good", async () => {
    const { client } = await createSignedInClient();
    service.state.expired = 1;
    await client.session.signOut();
    expect(service.state.hasEnded).toBe(true);
    expect(sentMethods()).toEqual(["SignOut"]);
  });

  test("forgets the tokens even when the shop cannot be told, and says so", async () => {
    const { client, shelf } = await createSignedInClient();
    proxy.goWrong("reset before");
    await expect(client.session.signOut()).rejects.toMatchObject({ code: Code.Unavailable });
    expect(shelf.holds()).toBeUndefined();
  });

  test("in one client signs out those that share its store", async () => {
    const { client, shelf } = await createSignedInClient();
    const other = createClient({ baseUrl: service.url, session: shelf });
    await client.session.signOut();
    await other.catalog.listBrands({});
    expect(service.state.shown.at(-1)).toBeNull();
  });
});
