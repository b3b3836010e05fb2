import { request as httpRequest } from "node:http";
import type { IncomingHttpHeaders } from "node:http2";
import { buffer } from "node:stream/consumers";
import { gunzipSync, gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, test } from "vitest";
import {
  CatalogService,
  ListProductsRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { connectHttp2, envelope } from "../../../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../../../support/rpc/rpc-clients.ts";
import { expectNoCrash, type RpcServer, startRpcServer } from "../../../support/rpc/rpc-server.ts";

const listProductsPath = `/${CatalogService.typeName}/ListProducts`;
const listBrandsPath = `/${CatalogService.typeName}/ListBrands`;

/** Host names: the fast path handles plain ones, Connect the others. */
const CONNECT_HOST = "handled_by_connect";
const FAST_PATH_HOST = "localhost";

/** A request without its authority. */
interface TestRequest {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
}

/** A whole response. */
interface TestResponse {
  headers: IncomingHttpHeaders;
  body: Buffer;
  trailers: IncomingHttpHeaders;
}

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

async function overHttp2(
  authority: string,
  { method = "POST", path = getProductPath, headers, body }: TestRequest,
): Promise<TestResponse> {
  const session = connectHttp2(server.url);
  const fields = { ":method": method, ":path": path, ":authority": authority, ...headers };
  const stream = session.request(fields, { endStream: false });
  stream.on("error", () => {});
  const response: Pick<TestResponse, "headers" | "trailers"> = { headers: {}, trailers: {} };
  stream.on("response", (headers) =>
    Object.assign(response.headers, headers, { ":status": String(headers[":status"]) }),
  );
  stream.on("trailers", (trailers) => Object.assign(response.trailers, trailers));
  stream.end(body);
  return { ...response, body: await buffer(stream) };
}

function overHttp1(
  authority: string,
  { method = "POST", path = getProductPath, headers, body }: TestRequest,
): Promise<TestResponse> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${server.url}${path}`, { method, headers: { ...headers, host: authority } });
    request.on("error", reject);
    request.on("response", async (response) => {
      const body = await buffer(response);
      const headers = { ...response.headers, ":status": String(response.statusCode) };
      resolve({ headers, body, trailers: response.trailers });
    });
    request.end(body);
  });
}

/** Returns a response without what may differ: compression, chunks, and the order of trailers. */
function normalize({ headers, body, trailers }: TestResponse) {
  const { date: _date, "transfer-encoding": _chunked, "content-length": length, ...kept } = headers;
  if (length !== undefined) expect(Number(length)).toBe(body.length);
  const hasEnvelopes = String(kept["content-type"]).startsWith("application/grpc");
  const content = kept["content-encoding"] === "gzip" ? gunzipSync(body) : body;
  // The encoding of an error or a small response is not used.
  if (hasEnvelopes) delete kept["grpc-encoding"];
  delete kept["content-encoding"];
  return {
    headers: kept,
    trailers: { ...trailers },
    body: hasEnvelopes ? envelopesOf(body) : content.toString("latin1"),
  };
}

function envelopesOf(body: Buffer): string[] {
  const envelopes: string[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    const flags = body.readUInt8(at);
    const content = body.subarray(at + 5, end);
    const text = (flags & 1 ? gunzipSync(content) : content).toString("latin1");
    // Neither the order of trailers nor their escaping matters.
    envelopes.push(
      `${flags & 0x80}: ${flags & 0x80 ? decodeURIComponent(text).split("\r\n").sort().join() : text}`,
    );
    at = end;
  }
  return envelopes;
}

const product = getProductBytes("A");
const failing = getProductBytes("FAIL");
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
  "an unknown field": { headers: { "content-type": "application/json" }, body: asJson({ skew: "A" }) },
};

const describeProtocol = (name: string, send: typeof overHttp2, requests: Record<string, TestRequest>) =>
  describe(name, () => {
    test.each(Object.entries(requests))(
      "%s gets the same response as from Connect",
      async (_what, request) => {
        const [fast, connect] = [await send(FAST_PATH_HOST, request), await send(CONNECT_HOST, request)];
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
    await send(FAST_PATH_HOST, request);
    await send(CONNECT_HOST, request);
    expect(paths).toEqual(["fast", "connect"]);
  },
);
