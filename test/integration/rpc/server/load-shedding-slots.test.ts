import { once } from "node:events";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { anonymous } from "../../../../src/kernel/principal.ts";
import { blockLists } from "../../../support/rpc/blocking-handler.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath, post } from "../../../support/rpc/rpc-clients.ts";
import { expectNoCrash, expectServing, startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct, listProducts } = CatalogService.method;
const listProductsPath = `/${CatalogService.typeName}/ListProducts`;
const emptyRequest = envelope(new Uint8Array());
const largeList = { listProducts: () => ({ products: [{ name: "x".repeat(100_000) }] }) };

const UNAVAILABLE = String(Code.Unavailable);

expectNoCrash();

/** Opens calls until the server does not reject one, and returns that. */
async function openGrpcUntilAdmitted(
  session: ClientHttp2Session,
  path: string,
  headers: Record<string, string>,
): Promise<ClientHttp2Stream> {
  for (;;) {
    const call = openGrpc(session, path, headers);
    let isRejected = false;
    call.once("response", () => {
      isRejected = true;
    });
    // The acknowledgement of the second ping is behind the response to the call.
    for (let count = 0; count < 2; count += 1) await new Promise((resolve) => session.ping(resolve));
    if (!isRejected) return call;
    call.close();
  }
}

/** The fast path takes calls without compression, Connect takes the others. */
describe.each([
  ["the fast path", "identity"],
  ["Connect", "gzip"],
])("on the path through %s", (_, encoding) => {
  const headers = { "grpc-timeout": "100S", "grpc-encoding": encoding };

  test("a caller who does not receive responses holds no slot", async () => {
    const { url } = await startRpcServer({ maxCalls: 2, catalog: largeList });
    // A window of 0 bytes: the headers of a response pass, its message does not.
    const slow = connectHttp2(url, { settings: { initialWindowSize: 0 } });
    for (let count = 0; count < 10; count += 1) {
      const call = openGrpc(slow, listProductsPath, headers);
      call.end(emptyRequest);
      await once(call, "response");
    }
    await expectServing(url);
  });

  test("calls that stall, and then all arrive together, get no more slots than others", async () => {
    const lists = blockLists();
    const { url } = await startRpcServer({ maxCalls: 2, limits: { slotBodyMs: 0 }, catalog: lists.catalog });
    const session = connectHttp2(url);
    // The first two stall, and the next two get their slots.
    const calls: ClientHttp2Stream[] = [];
    while (calls.length < 4) calls.push(await openGrpcUntilAdmitted(session, listProductsPath, headers));
    const ends = calls.map((call) => {
      call.end(emptyRequest);
      return grpcStatus(call);
    });
    let rejected = 0;
    for (const end of ends) void end.then((status) => (rejected += status === UNAVAILABLE ? 1 : 0));
    await expect.poll(() => [rejected, lists.startedCount()]).toEqual([2, 2]);
    lists.release();
    expect((await Promise.all(ends)).toSorted()).toEqual(["0", "0", UNAVAILABLE, UNAVAILABLE]);
  });

  test("a call that waits for its authentication keeps its slot", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let waiting = 0;
    const { url } = await startRpcServer({
      maxCalls: 2,
      limits: { slotBodyMs: 0 },
      authenticate: async () => {
        waiting += 1;
        await promise;
        return anonymous;
      },
    });
    const session = connectHttp2(url);
    const call = () => {
      const stream = openGrpc(session, getProductPath, { ...headers, authorization: "Bearer a" });
      stream.end(envelope(getProductBytes("A")));
      return grpcStatus(stream);
    };
    const admitted = [call(), call()];
    await expect.poll(() => waiting).toBe(2);
    expect(await call()).toBe(UNAVAILABLE);
    resolve();
    expect(await Promise.all(admitted)).toEqual(["0", "0"]);
  });
});

test("of the responses that are not received, the oldest are aborted when they are too large", async () => {
  const { url } = await startRpcServer({ limits: { maxUnsentBytes: 250_000 }, catalog: largeList });
  const slow = connectHttp2(url, { settings: { initialWindowSize: 0 } });
  const aborted: number[] = [];
  for (let index = 0; index < 4; index += 1) {
    const call = openGrpc(slow, listProductsPath);
    call.once("close", () => aborted.push(index));
    call.end(emptyRequest);
    await once(call, "response");
  }
  await expect.poll(() => aborted).toEqual([0, 1]);
  await expectServing(url);
});

test("a web page can read that its call was rejected, on both paths", async () => {
  const lists = blockLists();
  const { url } = await startRpcServer({
    maxCalls: 1,
    corsOrigins: ["https://a.example"],
    catalog: lists.catalog,
  });
  const blocking = post(url, listProducts, {});
  await expect.poll(lists.startedCount).toBe(1);
  const headers = { origin: "https://a.example" };
  const onFastPath = await post(url, getProduct, { sku: "A" }, headers);
  const byConnect = await post(
    url,
    getProduct,
    { sku: "A" },
    { ...headers, "content-type": "application/json; charset=utf-8" },
  );
  const byGet = await fetch(`${url}${getProductPath}?encoding=json&message={}`, { headers });
  for (const response of [onFastPath, byConnect, byGet]) {
    expect(response.status).toBe(503);
    expect(response.headers.get("access-control-allow-origin")).toBe("https://a.example");
    expect(response.headers.get("vary")).toBe("Origin");
  }
  expect(byGet.headers.get("cache-control")).toBe("no-store");
  lists.release();
  expect((await blocking).status).toBe(200);
});
