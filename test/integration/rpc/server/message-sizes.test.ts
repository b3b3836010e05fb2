import { gzipSync } from "node:zlib";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import {
  callGrpcJs,
  getProductBytes,
  getProductPath,
  grpcJs,
  methodUrl,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { expectNoCrash, expectServing, startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;
const MEBIBYTE = 1024 * 1024;

expectNoCrash();

describe("a message of more than 4 MiB is RESOURCE_EXHAUSTED", () => {
  test.each(transportNames.filter((name) => name !== "Connect GET"))(
    "a message of more than 4 MiB is RESOURCE_EXHAUSTED by %s",
    async (name) => {
      const { url } = await startRpcServer();
      const client = createClient(CatalogService, transports(url)[name]);
      const value = "x".repeat(5 * MEBIBYTE);
      const error = await client.getProduct({ key: { case: "sku", value } }).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.ResourceExhausted });
      expect(error).toSatisfy(
        (error: ConnectError) => error.findDetails(ErrorInfoSchema)[0]?.reason === "MESSAGE_TOO_LARGE",
      );
      await expectServing(url);
    },
  );

  test("a message of more than 4 MiB is RESOURCE_EXHAUSTED by @grpc/grpc-js", async () => {
    const { url, port } = await startRpcServer();
    const value = "x".repeat(5 * MEBIBYTE);
    await expect(callGrpcJs(grpcJs(port), getProduct, { key: { case: "sku", value } })).rejects.toMatchObject(
      { code: status.RESOURCE_EXHAUSTED },
    );
    await expectServing(url);
  });

  test("a message of 4 MiB is read", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(methodUrl(url, getProduct), {
      method: "POST",
      headers: { "content-type": "application/proto" },
      body: new Uint8Array(getProductBytes("x".repeat(4 * MEBIBYTE - 5))),
    });
    // Too long for a sku, not for a message.
    expect(await response.json()).toMatchObject({ code: "invalid_argument" });
  });

  test("a message of more than 4 MiB is RESOURCE_EXHAUSTED after decompression by gRPC", async () => {
    const { url } = await startRpcServer();
    const bomb = gzipSync(Buffer.alloc(100 * MEBIBYTE));
    expect(bomb.length).toBeLessThan(MEBIBYTE / 4);
    const stream = openGrpc(connectHttp2(url), getProductPath, { "grpc-encoding": "gzip" });
    stream.end(envelope(bomb, true));
    expect(await grpcStatus(stream)).toBe(String(Code.ResourceExhausted));
    await expectServing(url);
  });

  test("a message of more than 4 MiB is RESOURCE_EXHAUSTED after decompression by Connect", async () => {
    const { url } = await startRpcServer();
    const bomb = gzipSync(Buffer.from(`{"sku":"${"x".repeat(50 * MEBIBYTE)}"}`));
    const response = await fetch(methodUrl(url, getProduct), {
      method: "POST",
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
      body: new Uint8Array(bomb),
    });
    expect(response.status).toBe(429);
    expect(await response.json()).toMatchObject({ code: "resource_exhausted" });
    await expectServing(url);
  });

  test("a message of more than 4 MiB by its envelope is RESOURCE_EXHAUSTED before the rest is read", async () => {
    const { url } = await startRpcServer();
    const stream = openGrpc(connectHttp2(url), getProductPath);
    const head = envelope(Buffer.alloc(0));
    head.writeUInt32BE(0xffffffff, 1);
    stream.write(head);
    expect(await grpcStatus(stream)).toBe(String(Code.ResourceExhausted));
  });

  test("a response of more than 4 MiB is RESOURCE_EXHAUSTED", async () => {
    const { url } = await startRpcServer({
      catalog: { getProduct: () => ({ product: { name: "x".repeat(5 * MEBIBYTE) } }) },
    });
    const client = createClient(CatalogService, transports(url)["Connect over HTTP/1.1"]);
    const error = await client.getProduct({ key }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
  });
});

test.each([
  ["something else", Buffer.from("nonsense")],
  ["truncated", gzipSync(getProductBytes("A".repeat(1_000))).subarray(0, 20)],
])("a message that is declared as gzip and is %s is INVALID_ARGUMENT", async (_, bytes) => {
  const { url } = await startRpcServer();
  const stream = openGrpc(connectHttp2(url), getProductPath, { "grpc-encoding": "gzip" });
  stream.end(envelope(bytes, true));
  expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
});

describe("headers are limited", () => {
  test("headers are limited over HTTP/1.1", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, getProduct, { sku: "A" }, { "x-much": "y".repeat(17_000) });
    expect(response.status).toBe(431);
    await expectServing(url);
  });

  test.each([
    ["length", { "x-much": "y".repeat(17_000) }],
    ["number", Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`x-${index}`, "y"]))],
  ])("headers are limited in %s over HTTP/2", async (_, headers: Record<string, string>) => {
    const calls: unknown[] = [];
    const { url } = await startRpcServer({
      catalog: {
        getProduct: (request) => {
          calls.push(request);
          return {};
        },
      },
    });
    const session = connectHttp2(url);
    const accepted = openGrpc(session, getProductPath);
    accepted.end(envelope(getProductBytes("A")));
    expect(await grpcStatus(accepted)).toBe("0");
    const stream = openGrpc(session, getProductPath, headers);
    stream.end(envelope(getProductBytes("A")));
    expect(await grpcStatus(stream)).not.toBe("0");
    expect(calls).toHaveLength(1);
  });
});
