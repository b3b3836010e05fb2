import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import {
  CatalogService,
  ListProductsRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { envelope } from "../../../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../../../support/rpc/rpc-clients.ts";
import { expectNoCrash, type RpcServer, startRpcServer } from "../../../support/rpc/rpc-server.ts";
import { normalize, overHttp1, overHttp2, type TestRequest } from "../../../support/rpc/whole-responses.ts";

const listProductsPath = `/${CatalogService.typeName}/ListProducts`;
const listBrandsPath = `/${CatalogService.typeName}/ListBrands`;

/** Host names: the fast path handles plain ones, Connect the others. */
const CONNECT_HOST = "handled_by_connect";
const FAST_PATH_HOST = "localhost";

/** The paths on which calls reached the handler. */
const paths: string[] = [];
let server: RpcServer;

expectNoCrash();

beforeEach(async () => {
  paths.length = 0;
  server = await startRpcServer({
    catalog: {
      getProduct: ({ key }, context) => {
        // Only the contexts of Connect have an abort method.
        paths.push("abort" in context ? "connect" : "fast");
        if (key.value === "FAIL_WITH_HEADERS") {
          context.responseHeader.append("x-header", "one");
          context.responseHeader.append("x-header", "two");
          context.responseTrailer.append("x-trailer", "before the error");
          const metadata = {
            "x-header": "of the error",
            "x-error": "of the error",
            "content-type": "text/x",
          };
          throw new ConnectError("failed", Code.DataLoss, metadata);
        }
        if (key.value === "FAIL") {
          throw new AppError("aborted", 'Another "one" was first: 100 % so, für alle.', {
            reason: "STALE_ETAG",
          });
        }
        context.responseHeader.set("x-header", "of the handler");
        context.responseTrailer.set("x-trailer", "of the handler");
        return { product: { sku: key.value ?? "", name: context.protocolName } };
      },
      listProducts: () => ({
        products: Array.from({ length: 200 }, (_, index) => ({ sku: `S-${index}`, name: "Hammer" })),
      }),
    },
  });
});

const product = getProductBytes("A");
const failing = getProductBytes("FAIL");
const failingWithHeaders = getProductBytes("FAIL_WITH_HEADERS");
const nothing = new Uint8Array();
const asJson = (value: unknown) => Buffer.from(JSON.stringify(value));
const list = toBinary(ListProductsRequestSchema, create(ListProductsRequestSchema, {}));
const query = (params: Record<string, string>) =>
  `${getProductPath}?${new URLSearchParams({ connect: "v1", ...params })}`;

/** Returns the requests of gRPC and gRPC-Web with this content type. */
const envelopeRequests = (type: string): Record<string, TestRequest> => {
  const headers = { "content-type": type, te: "trailers" };
  const gzip = { ...headers, "grpc-accept-encoding": "br, gzip" };
  return {
    "a read": { headers, body: envelope(product) },
    "a read with a timeout": { headers: { ...headers, "grpc-timeout": "10S" }, body: envelope(product) },
    "a read that fails": { headers, body: envelope(failing) },
    "a read that fails with headers and trailers": { headers, body: envelope(failingWithHeaders) },
    "an invalid request": { headers, body: envelope(getProductBytes("")) },
    "a method without an implementation": { headers, body: envelope(nothing), path: listBrandsPath },
    "a large response": { headers, body: envelope(list), path: listProductsPath },
    "a large response, compressed": { headers: gzip, body: envelope(list), path: listProductsPath },
    "a small response that could be compressed": { headers: gzip, body: envelope(product) },
    "an empty body": { headers, body: nothing },
    "two envelopes": { headers, body: Buffer.concat([envelope(product), envelope(product)]) },
    "half an envelope": { headers, body: envelope(product).subarray(0, 6) },
    "half an envelope header": { headers, body: envelope(product).subarray(0, 3) },
    "an envelope and another byte": { headers, body: Buffer.concat([envelope(product), Buffer.from([0])]) },
    "an envelope and a bare message": {
      headers,
      body: Buffer.concat([envelope(product), product]),
    },
    "an uncompressed envelope with the compressed flag": { headers, body: envelope(product, true) },
    "a compressed envelope": {
      headers: { ...headers, "grpc-encoding": "gzip" },
      body: envelope(gzipSync(product), true),
    },
    "an unknown encoding": {
      headers: { ...headers, "grpc-encoding": "zip" },
      body: envelope(product),
    },
    "a malformed message": { headers, body: envelope(Buffer.from([0x0a, 0xff, 0xff])) },
    "an envelope that is too large": {
      headers,
      body: Buffer.concat([Buffer.from([0, 0xff, 0, 0, 0]), product]),
    },
    "a malformed timeout": { headers: { ...headers, "grpc-timeout": "soon" }, body: envelope(product) },
    "a timeout of 0": { headers: { ...headers, "grpc-timeout": "0n" }, body: envelope(product) },
  };
};

const bareRequests: Record<string, TestRequest> = Object.fromEntries(
  [
    { name: "JSON", type: "application/json", read: asJson({ sku: "A" }), fail: asJson({ sku: "FAIL" }) },
    { name: "binary", type: "application/proto", read: product, fail: failing },
  ].flatMap(({ name, type, read, fail }) => {
    const headers = { "content-type": type };
    const gzip = { ...headers, "accept-encoding": "gzip, br" };
    const all: Record<string, TestRequest> = {
      "a read": { headers, body: read },
      "a read with a timeout": { headers: { ...headers, "connect-timeout-ms": "10000" }, body: read },
      "a read that fails": { headers, body: fail },
      "a read that fails, compressed": { headers: gzip, body: fail },
      "an empty body": { headers, body: nothing },
      "a method without an implementation": {
        headers,
        body: type.endsWith("json") ? asJson({}) : nothing,
        path: listBrandsPath,
      },
      "a large response, compressed": {
        headers: gzip,
        body: type.endsWith("json") ? asJson({}) : list,
        path: listProductsPath,
      },
      "a malformed message": { headers, body: Buffer.from([0x7b, 0xff, 0xff]) },
      "a compressed body": { headers: { ...headers, "content-encoding": "gzip" }, body: gzipSync(read) },
      "an unknown encoding": { headers: { ...headers, "content-encoding": "zip" }, body: read },
      "a body that is too large": { headers, body: Buffer.alloc(4 * 1024 * 1024 + 1, " ") },
      "a malformed timeout": { headers: { ...headers, "connect-timeout-ms": "-1" }, body: read },
      "a GET with a body": { method: "GET", headers, body: read },
    };
    return Object.entries(all).map(([what, request]) => [`${what}, ${name}`, request]);
  }),
);

const getRequests: Record<string, TestRequest> = {
  "a GET": { method: "GET", path: query({ encoding: "json", message: '{"sku":"A"}' }) },
  "a GET in base64": {
    method: "GET",
    path: query({ encoding: "proto", base64: "1", message: Buffer.from(product).toString("base64url") }),
  },
  "a GET that fails": { method: "GET", path: query({ encoding: "json", message: '{"sku":"FAIL"}' }) },
  "a GET that fails with headers and trailers": {
    method: "GET",
    path: query({ encoding: "json", message: '{"sku":"FAIL_WITH_HEADERS"}' }),
  },
  "a GET with a number in hexadecimal notation": {
    method: "GET",
    path: `${listProductsPath}?${new URLSearchParams({ encoding: "json", message: '{"pageSize":"0x10"}' })}`,
  },
  "a GET with a content type of gRPC": {
    method: "GET",
    path: query({ encoding: "json", message: '{"sku":"A"}' }),
    headers: { "content-type": "application/grpc" },
  },
  "a GET with a malformed message": { method: "GET", path: query({ encoding: "json", message: "{" }) },
  "a GET without a message": { method: "GET", path: query({ encoding: "proto" }) },
  "a GET with malformed base64": {
    method: "GET",
    path: query({ encoding: "proto", base64: "1", message: "!" }),
  },
  "a GET without an encoding": { method: "GET", path: query({ message: "{}" }) },
  "a GET without a query": { method: "GET" },
  "a GET of a method with side effects": {
    method: "GET",
    path: `/${CatalogService.typeName}/CreateProduct?encoding=json&message={}`,
  },
  "a HEAD": { method: "HEAD", path: query({ encoding: "json", message: '{"sku":"A"}' }) },
  "a PUT": { method: "PUT", headers: { "content-type": "application/json" }, body: asJson({ sku: "A" }) },
  "another content type": { headers: { "content-type": "text/plain" }, body: asJson({ sku: "A" }) },
  "no content type": { body: asJson({ sku: "A" }) },
  "a number in hexadecimal notation": {
    path: listProductsPath,
    headers: { "content-type": "application/json" },
    body: asJson({ pageSize: "0x10" }),
  },
  "a number with an exponent": {
    path: listProductsPath,
    headers: { "content-type": "application/json" },
    body: asJson({ pageSize: "1e1", minPrice: { currencyCode: "EUR", minorUnits: "1.5e2" } }),
  },
  "an unknown field": { headers: { "content-type": "application/json" }, body: asJson({ skew: "A" }) },
};

const describeProtocol = (name: string, send: typeof overHttp2, requests: Record<string, TestRequest>) =>
  describe(name, () => {
    test.each(Object.entries(requests))(
      "%s gets the same response as from Connect",
      async (_what, request) => {
        const [fast, connect] = [
          await send(server.url, FAST_PATH_HOST, request),
          await send(server.url, CONNECT_HOST, request),
        ];
        expect(normalize(fast)).toEqual(normalize(connect));
        expect(fast.headers[":status"]).toBeDefined();
      },
    );
  });

describeProtocol("gRPC", overHttp2, envelopeRequests("application/grpc"));
describeProtocol("gRPC-Web over HTTP/1.1", overHttp1, envelopeRequests("application/grpc-web+proto"));
describeProtocol("gRPC-Web over HTTP/2", overHttp2, envelopeRequests("application/grpc-web"));
describeProtocol("Connect over HTTP/1.1", overHttp1, { ...bareRequests, ...getRequests });
describeProtocol("Connect over HTTP/2", overHttp2, { ...bareRequests, ...getRequests });

test.each<[string, typeof overHttp2, TestRequest]>([
  ["gRPC", overHttp2, { headers: { "content-type": "application/grpc" }, body: envelope(product) }],
  [
    "gRPC-Web",
    overHttp1,
    { headers: { "content-type": "application/grpc-web+proto" }, body: envelope(product) },
  ],
  ["Connect", overHttp1, { headers: { "content-type": "application/proto" }, body: product }],
  [
    "Connect over HTTP/2",
    overHttp2,
    { headers: { "content-type": "application/json" }, body: asJson({ sku: "A" }) },
  ],
  ["a GET", overHttp1, { method: "GET", path: query({ encoding: "json", message: '{"sku":"A"}' }) }],
])(
  "%s takes the fast path, and the path through Connect when its host is unusual",
  async (_name, send, request) => {
    await send(server.url, FAST_PATH_HOST, request);
    await send(server.url, CONNECT_HOST, request);
    expect(paths).toEqual(["fast", "connect"]);
  },
);
