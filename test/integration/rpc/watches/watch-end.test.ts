import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import type { Authenticate } from "../../../../src/rpc/call/access/authenticate-call.ts";
import { transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { authenticateByName } from "../../../support/rpc/token-principals.ts";
import { openWatch, startWatchServer, type Watch } from "../../../support/rpc/watch-server.ts";

/** Longer than a test may take: a stop that waits for it fails. */
const NEVER_MS = 600_000;
// A stream has no message in its URL.
const names = transportNames.filter((name) => name !== "Connect GET");

/** Sends one message and ignores its signal. */
const deafWatch: Watch = async function* () {
  yield {};
  await new Promise(() => {});
};

describe("when the server stops", () => {
  test.each(names)("watches end with UNAVAILABLE immediately when the server stops, by %s", async (name) => {
    const { url, server } = await startWatchServer();
    const transport = transports(url)[name];
    const watches = Array.from({ length: 3 }, () => openWatch(transport));
    await expect.poll(() => watches.map(({ messages }) => messages.length)).toEqual([1, 1, 1]);
    const closing = server.close(NEVER_MS);
    for (const { end } of watches) {
      const error = await end;
      expect(error?.code).toBe(Code.Unavailable);
      expect(error?.findDetails(ErrorInfoSchema)[0]?.reason).toBe("SHUTTING_DOWN");
      expect(error?.findDetails(RetryInfoSchema)).toHaveLength(1);
    }
    await closing;
  });

  test("watches end while calls in flight go on", async () => {
    const release = Promise.withResolvers<object>();
    let lists = 0;
    const { url, server } = await startWatchServer({}, () => {
      lists += 1;
      return release.promise;
    });
    const watch = openWatch(transports(url)["gRPC over HTTP/2"]);
    const list = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]).listProducts({});
    await expect.poll(() => [watch.messages.length, lists]).toEqual([1, 1]);
    const closing = server.close(NEVER_MS);
    expect((await watch.end)?.code).toBe(Code.Unavailable);
    release.resolve({});
    expect(await list).toBeDefined();
    await closing;
  });

  test("watches whose handler ignores its signal end as well", async () => {
    const { url, server } = await startWatchServer({ watch: deafWatch, limits: { settleMs: 10 } });
    const watch = openWatch(transports(url)["Connect over HTTP/1.1"]);
    await expect.poll(() => watch.messages.length).toBe(1);
    const closing = server.close(NEVER_MS);
    expect((await watch.end)?.code).toBe(Code.Unavailable);
    await closing;
  });
});

/** Returns an authentication whose outcome a test changes. */
function changeableAuthentication() {
  let failure: AppError | undefined;
  let attempts = 0;
  const authenticate: Authenticate = (credential, beforeLookup) => {
    attempts += 1;
    if (failure !== undefined && credential === "account-1") throw failure;
    return authenticateByName(credential, beforeLookup);
  };
  const failWith = (error: AppError | undefined) => {
    failure = error;
  };
  return { authenticate, failWith, attemptCount: () => attempts };
}

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const sessionEnded = new AppError("unauthenticated", "The session has ended. Sign in again.", {
  reason: "SESSION_ENDED",
});
const roleChanged = new AppError("permission_denied", "This requires the role STAFF.", {
  reason: "STAFF_ONLY",
});
const databaseAway = new AppError("unavailable", "The database is unavailable.", { reason: "DATABASE_AWAY" });

describe("the credential of a watch", () => {
  test.each([
    ["has ended", sessionEnded, Code.Unauthenticated],
    ["no longer suffices", roleChanged, Code.PermissionDenied],
  ])(
    "an idle watch ends when its credential %s, and the watches of others go on",
    async (_, failure, code) => {
      const { authenticate, failWith, attemptCount } = changeableAuthentication();
      const { url, endedCount } = await startWatchServer({ authenticate, limits: { watchCheckMs: 5 } });
      const transport = transports(url)["gRPC over HTTP/2"];
      const watch = openWatch(transport, bearer("account-1"));
      const others = [openWatch(transport, bearer("account-2")), openWatch(transport)];
      await expect.poll(() => [watch, ...others].map(({ messages }) => messages.length)).toEqual([1, 1, 1]);
      failWith(failure);
      const error = await watch.end;
      expect([error?.code, error?.findDetails(ErrorInfoSchema)[0]?.reason]).toEqual([
        code,
        failure.details.reason,
      ]);
      // The others are checked some more times.
      const before = attemptCount();
      await expect.poll(attemptCount).toBeGreaterThan(before + 5);
      expect(endedCount()).toBe(1);
    },
  );

  test("an idle watch goes on when its credential cannot be checked for a time", async () => {
    const { authenticate, failWith, attemptCount } = changeableAuthentication();
    const { url, endedCount } = await startWatchServer({ authenticate, limits: { watchCheckMs: 5 } });
    const watch = openWatch(transports(url)["gRPC over HTTP/2"], bearer("account-1"));
    await expect.poll(() => watch.messages.length).toBe(1);
    failWith(databaseAway);
    const before = attemptCount();
    await expect.poll(attemptCount).toBeGreaterThan(before + 5);
    expect(endedCount()).toBe(0);
    failWith(sessionEnded);
    expect((await watch.end)?.code).toBe(Code.Unauthenticated);
  });

  test("a watch delivers no message after its credential has ended", async () => {
    const { authenticate, failWith } = changeableAuthentication();
    const next = Promise.withResolvers<void>();
    const watch: Watch = async function* () {
      yield {};
      await next.promise;
      yield {};
    };
    const { url } = await startWatchServer({ authenticate, watch, limits: { watchCheckMs: NEVER_MS } });
    const opened = openWatch(transports(url)["gRPC over HTTP/2"], bearer("account-1"));
    await expect.poll(() => opened.messages.length).toBe(1);
    failWith(sessionEnded);
    // The authentication at the start of the call is relied on for 100 ms.
    const startedAtMs = performance.now();
    await expect.poll(() => performance.now() - startedAtMs).toBeGreaterThan(100);
    next.resolve();
    expect((await opened.end)?.code).toBe(Code.Unauthenticated);
    expect(opened.messages.length).toBe(1);
  });
});
