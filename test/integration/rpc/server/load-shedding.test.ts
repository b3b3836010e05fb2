import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { Health } from "../../../../gen/grpc/health/v1/health_pb.ts";
import { blockLists } from "../../../support/rpc/blocking-handler.ts";
import {
  errorCode,
  frameType,
  grpcHeadersFrame,
  http2Frame,
  resetFrame,
} from "../../../support/rpc/http2-frames.ts";
import { openRawHttp2, readFrames } from "../../../support/rpc/raw-connection.ts";
import { connectHttp2, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import {
  callGrpcJs,
  getProductPath,
  grpcJs,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import {
  expectNoCrash,
  expectServing,
  type RpcServer,
  startRpcServer,
} from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;

expectNoCrash();

/** Starts a server with two slots, both of which are held until `finish`. */
async function startFull(): Promise<RpcServer & { finish(): Promise<void> }> {
  const lists = blockLists();
  const server = await startRpcServer({ maxCalls: 2, catalog: lists.catalog });
  const client = createClient(CatalogService, createGrpcTransport({ baseUrl: server.url }));
  const calls = Promise.all([client.listProducts({}), client.listProducts({})]);
  await expect.poll(lists.startedCount).toBe(2);
  const finish = async () => {
    lists.release();
    await calls;
  };
  return { ...server, finish };
}

async function expectOverloaded(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => expect.fail("the call was not rejected"),
    (reason: unknown) => ConnectError.from(reason),
  );
  expect(error).toMatchObject({
    code: Code.Unavailable,
    rawMessage: "The service is overloaded. Retry in 1 s.",
  });
  expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "OVERLOADED", domain: "cartwright" });
  expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(1n);
}

// The message of a GET is in its URL, which is read first.
test.each(transportNames.filter((name) => name !== "Connect GET"))(
  "a call at the concurrency limit is rejected before its large body is read, by %s",
  async (name) => {
    const { url, finish } = await startFull();
    const client = createClient(CatalogService, transports(url)[name]);
    const value = "x".repeat(3 * 1024 * 1024);
    await expectOverloaded(client.getProduct({ key: { case: "sku", value } }));
    await finish();
    await expectServing(url);
  },
);

describe.each(transportNames)("a call at the concurrency limit by %s", (name) => {
  test("a call at the concurrency limit is rejected immediately, and served when another call has ended", async () => {
    const { url, finish } = await startFull();
    const client = createClient(CatalogService, transports(url)[name]);
    for (let count = 0; count < 3; count += 1) await expectOverloaded(client.getProduct({ key }));
    await finish();
    await expect
      .poll(() => client.getProduct({ key }).catch(ConnectError.from))
      .toMatchObject({ product: { sku: "A" } });
  });

  test("a stream at the concurrency limit is rejected", async () => {
    const { url, finish } = await startFull();
    const client = createClient(CatalogService, transports(url)[name]);
    const rows = async function* () {
      yield {};
    };
    await expectOverloaded(client.importProducts(rows()));
    await finish();
  });
});

test("a call at the concurrency limit by @grpc/grpc-js is rejected", async () => {
  const { port, finish } = await startFull();
  const call = callGrpcJs(grpcJs(port), getProduct, { key });
  await expect(call).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await finish();
});

test("a rejected call gets the HTTP status 503 and Retry-After", async () => {
  const { url, finish } = await startFull();
  const response = await post(url, getProduct, { sku: "A" });
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await response.json()).toMatchObject({ code: "unavailable" });
  await finish();
});

test("a call whose body never arrives is rejected immediately", async () => {
  const { url, finish } = await startFull();
  const call = openGrpc(connectHttp2(url), getProductPath, { "content-length": "1000" });
  expect(await grpcStatus(call)).toBe(String(Code.Unavailable));
  await finish();
});

test("probes are served at the concurrency limit", async () => {
  const { url, finish } = await startFull();
  const health = createClient(Health, createGrpcTransport({ baseUrl: url }));
  expect(await health.check({})).toBeDefined();
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  await finish();
});

test("a caller who leaves frees its slot", async () => {
  const { url } = await startRpcServer({ maxCalls: 1 });
  const session = connectHttp2(url);
  for (let count = 0; count < 10; count += 1) {
    const call = openGrpc(session, getProductPath, { "content-length": "1000" });
    // Frames of one connection arrive in order: the server has the call when it has acknowledged the ping behind it.
    await new Promise((resolve) => session.ping(resolve));
    call.close();
  }
  await expect.poll(async () => (await post(url, getProduct, { sku: "A" })).status).toBe(200);
});

test("a caller who resets a rejected call immediately leaves the server up", async () => {
  const { url, port, finish } = await startFull();
  const socket = await openRawHttp2(port);
  for (let stream = 1; stream < 100; stream += 2) {
    socket.write(
      Buffer.concat([grpcHeadersFrame(stream, getProductPath), resetFrame(stream, errorCode.noError)]),
    );
  }
  const ping = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8));
  socket.write(ping);
  for await (const { type } of readFrames(socket)) if (type === frameType.ping) break;
  await finish();
  await expectServing(url);
});

test("calls whose bodies do not arrive lose their slots to others", async () => {
  const { url } = await startRpcServer({ maxCalls: 2, limits: { slotBodyMs: 500 } });
  const session = connectHttp2(url);
  for (let count = 0; count < 2; count += 1) {
    openGrpc(session, getProductPath, { "content-length": "1000", "grpc-timeout": "100S" }).write("x");
  }
  await expect.poll(async () => (await post(url, getProduct, { sku: "A" })).status).toBe(200);
  session.destroy();
  await expectServing(url);
});
