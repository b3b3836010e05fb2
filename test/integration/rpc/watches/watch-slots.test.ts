import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { authenticateByName } from "../../../support/rpc/token-principals.ts";
import { type OpenedWatch, openWatch, startWatchServer } from "../../../support/rpc/watch-server.ts";

// A stream has no message in its URL.
const names = transportNames.filter((name) => name !== "Connect GET");

/** Returns how a watch begins: `open` after its first message, or the reason of its error. */
async function startOf({ messages, end }: OpenedWatch): Promise<string> {
  let outcome = "";
  void end.then((error) => {
    outcome = error?.findDetails(ErrorInfoSchema)[0]?.reason ?? "OK";
  });
  await expect.poll(() => messages.length > 0 || outcome !== "").toBe(true);
  return outcome === "" ? "open" : outcome;
}

describe.each(names)("watches by %s", (name) => {
  test("watches take no slots of calls, and calls take no slots of watches", async () => {
    const release = Promise.withResolvers<object>();
    let lists = 0;
    const server = await startWatchServer({ maxCalls: 1, maxWatchers: 8 }, () => {
      lists += 1;
      return release.promise;
    });
    const transport = transports(server.url)[name];
    for (let count = 0; count < 3; count += 1) expect(await startOf(openWatch(transport))).toBe("open");
    const { listProducts } = createClient(CatalogService, transport);
    const list = listProducts({});
    await expect.poll(() => lists).toBe(1);
    await expect(listProducts({})).rejects.toMatchObject({ code: Code.Unavailable });
    expect(await startOf(openWatch(transport))).toBe("open");
    release.resolve({});
    await list;
  });
});

describe("a watch at the limit", () => {
  test("a watch at the limit is rejected with the time to wait, and accepted when another watch has ended", async () => {
    const { url, lines, endedCount } = await startWatchServer({ maxWatchers: 1 });
    const transport = transports(url)["gRPC over HTTP/2"];
    const first = openWatch(transport);
    expect(await startOf(first)).toBe("open");
    const error = await openWatch(transport).end;
    expect(error?.code).toBe(Code.Unavailable);
    expect(error?.findDetails(ErrorInfoSchema)[0]?.reason).toBe("OVERLOADED");
    expect(error?.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(1n);
    expect(lines.map(({ message }) => message)).toContain("Watches rejected at the concurrency limit");
    first.cancel();
    await expect.poll(endedCount).toBe(1);
    await expect.poll(() => startOf(openWatch(transport))).toBe("open");
  });

  test("a watch at the share of its caller is rejected, while those of other callers are accepted", async () => {
    const { url } = await startWatchServer({ maxWatchers: 16, authenticate: authenticateByName });
    const transport = transports(url)["gRPC over HTTP/2"];
    const open = (token: string) =>
      startOf(openWatch(transport, { headers: { authorization: `Bearer ${token}` } }));
    const outcomes: string[] = [];
    for (let count = 0; count < 16; count += 1) outcomes.push(await open("account-1"));
    // An eighth of the slots is reserved for callers with less than a fair share.
    expect(outcomes).toEqual([...Array(14).fill("open"), "OVERLOADED", "OVERLOADED"]);
    expect([await open("account-2"), await open("account-3")]).toEqual(["open", "open"]);
    expect(await open("account-4")).toBe("OVERLOADED");
  });
});
