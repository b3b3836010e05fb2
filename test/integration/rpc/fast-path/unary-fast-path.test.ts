import { request as request1 } from "node:http";
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

/** Names that are no plain ones, so that their calls go by Connect. */
const LONG_WAY = "the_long_way";
const SHORT_WAY = "localhost";

/** A request as it is sent, but for its authority. */
interface Sent {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
}

/** All that comes back. */
interface Back {
  headers: IncomingHttpHeaders;
  body: Buffer;
  trailers: IncomingHttpHeaders;
}

/** How the calls came that a handler was asked for. */
const ways: string[] = [];
let server: RpcServer;

expectNoCrash();

beforeEach(async () => {
  ways.length = 0;
  server = await startRpcServer({
    catalog: {
      getProduct: ({ key }, context) => {
        // Only Connect's contexts can be aborted.
        ways.push("abort" in context ? "long" : "short");
        if (key.value === "FAIL") {
          throw new AppError("conflict", 'Another "one" was first: 100 % so, für alle.', {
            reason: "STALE_ETAG",
          });
        }
        context.responseHeader.set("x-told", "in the header");
        context.responseTrailer.set("x-added", "in the trailer");
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
  { method = "POST", path = getProductPath, headers, body }: Sent,
): Promise<Back> {
  const session = connectHttp2(server.url);
  const fields = { ":method": method, ":path": path, ":authority": authority, ...headers };
  const stream = session.request(fields, { endStream: false });
  stream.on("error", () => {});
  const back: Pick<Back, "headers" | "trailers"> = { headers: {}, trailers: {} };
  stream.on("response", (headers) =>
    Object.assign(back.headers, headers, { ":status": String(headers[":status"]) }),
  );
  stream.on("trailers", (trailers) => Object.assign(back.trailers, trailers));
  stream.end(body);
  return { ...back, body: await buffer(stream) };
}

function overHttp1(
  authority: string,
  { method = "POST", path = getProductPath, headers, body }: Sent,
): Promise<Back> {
  return new Promise((resolve, reject) => {
    const request = request1(`${server.url}${path}`, { method, headers: { ...headers, host: authority } });
    request.on("error", reject);
    request.on("response", async (response) => {
      const body = await buffer(response);
      const headers = { ...response.headers, ":status": String(response.statusCode) };
      resolve({ headers, body, trailers: response.trailers });
    });
    request.end(body);
  });
}

/** What is the same, however it is written: compressed or not, in one piece or in chunks, with its frames apart. */
function plain({ headers, body, trailers }: Back) {
  const { date: _date, "transfer-encoding": _chunked, "content-length": length, ...kept } = headers;
  if (length !== undefined) expect(Number(length)).toBe(body.length);
  const isFramed = String(kept["content-type"]).startsWith("application/grpc");
  const content = kept["content-encoding"] === "gzip" ? gunzipSync(body) : body;
  // That an error or a small answer could have been compressed says nothing.
  if (isFramed) delete kept["grpc-encoding"];
  delete kept["content-encoding"];
  return {
    headers: kept,
    trailers: { ...trailers },
    body: isFramed ? framesOf(body) : content.toString("latin1"),
  };
}

function framesOf(body: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    const flags = body.readUInt8(at);
    const content = body.subarray(at + 5, end);
    const text = (flags & 1 ? gunzipSync(content) : content).toString("latin1");
    // The order of trailers means nothing, nor how much of them is escaped.
    frames.push(
      `${flags & 0x80}: ${flags & 0x80 ? decodeURIComponent(text).split("\r\n").sort().join() : text}`,
    );
    at = end;
  }
  return frames;
}

const product = getProductBytes("A");
const failing = getProductBytes("FAIL");
const nothing = new Uint8Array();
const asJson = (value: unknown) => Buffer.from(JSON.stringify(value));
const list = toBinary(ListProductsRequestSchema, create(ListProductsRequestSchema, {}));
const query = (params: Record<string, string>) =>
  `${getProductPath}?${new URLSearchParams({ connect: "v1", ...params })}`;

/** What comes within gRPC and gRPC-Web. @param type the content type */
const framed = (type: string): Record<string, Sent> => {
  const headers = { "content-type": type, te: "trailers" };
  const gzip = { ...headers, "grpc-accept-encoding": "br, gzip" };
  return {
    "a read": { headers, body: envelope(product) },
    "a read with a timeout": { headers: { ...headers, "grpc-timeout": "10S" }, body: envelope(product) },
    "a read that fails": { headers, body: envelope(failing) },
    "a request that breaks a rule": { headers, body: envelope(getProductBytes("")) },
    "a method without an implementation": { headers, body: envelope(nothing), path: listBrandsPath },
    "a long answer": { headers, body: envelope(list), path: listProductsPath },
    "a long answer, compressed": { headers: gzip, body: envelope(list), path: listProductsPath },
    "a short answer that might be compressed": { headers: gzip, body: envelope(product) },
    "no frame": { headers, body: nothing },
    "two frames": { headers, body: Buffer.concat([envelope(product), envelope(product)]) },
    "half a frame": { headers, body: envelope(product).subarray(0, 6) },
    "half a head": { headers, body: envelope(product).subarray(0, 3) },
    "more than a frame": { headers, body: Buffer.concat([envelope(product), Buffer.from([0])]) },
    "a frame with more of a message behind it": {
      headers,
      body: Buffer.concat([envelope(product), product]),
    },
    "a frame that says it is compressed": { headers, body: envelope(product, true) },
    "a compressed frame": {
      headers: { ...headers, "grpc-encoding": "gzip" },
      body: envelope(gzipSync(product), true),
    },
    "an encoding that nobody knows": {
      headers: { ...headers, "grpc-encoding": "zip" },
      body: envelope(product),
    },
    "bytes that are no message": { headers, body: envelope(Buffer.from([0x0a, 0xff, 0xff])) },
    "a frame that is too long": { headers, body: Buffer.concat([Buffer.from([0, 0xff, 0, 0, 0]), product]) },
    "a timeout that is none": { headers: { ...headers, "grpc-timeout": "soon" }, body: envelope(product) },
    "a timeout that is over": { headers: { ...headers, "grpc-timeout": "0n" }, body: envelope(product) },
  };
};

const bare: Record<string, Sent> = Object.fromEntries(
  [
    { name: "JSON", type: "application/json", read: asJson({ sku: "A" }), fail: asJson({ sku: "FAIL" }) },
    { name: "binary", type: "application/proto", read: product, fail: failing },
  ].flatMap(({ name, type, read, fail }) => {
    const headers = { "content-type": type };
    const gzip = { ...headers, "accept-encoding": "gzip, br" };
    const all: Record<string, Sent> = {
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
      "a long answer, compressed": {
        headers: gzip,
        body: type.endsWith("json") ? asJson({}) : list,
        path: listProductsPath,
      },
      "no message": { headers, body: Buffer.from([0x7b, 0xff, 0xff]) },
      "a compressed body": { headers: { ...headers, "content-encoding": "gzip" }, body: gzipSync(read) },
      "an encoding that nobody knows": { headers: { ...headers, "content-encoding": "zip" }, body: read },
      "a body that is too long": { headers, body: Buffer.alloc(4 * 1024 * 1024 + 1, " ") },
      "a timeout that is none": { headers: { ...headers, "connect-timeout-ms": "-1" }, body: read },
      "a GET with a body": { method: "GET", headers, body: read },
    };
    return Object.entries(all).map(([what, sent]) => [`${what}, ${name}`, sent]);
  }),
);

const got: Record<string, Sent> = {
  "a GET": { method: "GET", path: query({ encoding: "json", message: '{"sku":"A"}' }) },
  "a GET in base64": {
    method: "GET",
    path: query({ encoding: "proto", base64: "1", message: Buffer.from(product).toString("base64url") }),
  },
  "a GET that fails": { method: "GET", path: query({ encoding: "json", message: '{"sku":"FAIL"}' }) },
  "a GET of a gRPC call": {
    method: "GET",
    path: query({ encoding: "json", message: '{"sku":"A"}' }),
    headers: { "content-type": "application/grpc" },
  },
  "a GET of no message": { method: "GET", path: query({ encoding: "json", message: "{" }) },
  "a GET without a message": { method: "GET", path: query({ encoding: "proto" }) },
  "a GET of what is not base64": {
    method: "GET",
    path: query({ encoding: "proto", base64: "1", message: "!" }),
  },
  "a GET without an encoding": { method: "GET", path: query({ message: "{}" }) },
  "a GET without a query": { method: "GET" },
  "a GET of a change": {
    method: "GET",
    path: `/${CatalogService.typeName}/CreateProduct?encoding=json&message={}`,
  },
  "a HEAD": { method: "HEAD", path: query({ encoding: "json", message: '{"sku":"A"}' }) },
  "a PUT": { method: "PUT", headers: { "content-type": "application/json" }, body: asJson({ sku: "A" }) },
  "another content type": { headers: { "content-type": "text/plain" }, body: asJson({ sku: "A" }) },
  "an unknown field": { headers: { "content-type": "application/json" }, body: asJson({ skew: "A" }) },
};

const cases = (name: string, send: typeof overHttp2, requests: Record<string, Sent>) =>
  describe(name, () => {
    test.each(Object.entries(requests))("%s is answered as Connect answers it", async (_what, sent) => {
      const [short, long] = [await send(SHORT_WAY, sent), await send(LONG_WAY, sent)];
      expect(plain(short)).toEqual(plain(long));
      expect(short.headers[":status"]).toBeDefined();
    });
  });

cases("gRPC", overHttp2, framed("application/grpc"));
cases("gRPC-Web over HTTP/1.1", overHttp1, framed("application/grpc-web+proto"));
cases("gRPC-Web over HTTP/2", overHttp2, framed("application/grpc-web"));
cases("Connect over HTTP/1.1", overHttp1, { ...bare, ...got });
cases("Connect over HTTP/2", overHttp2, { ...bare, ...got });

test.each<[string, typeof overHttp2, Sent]>([
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
])("%s goes the short way, and the long way when its form is unusual", async (_name, send, sent) => {
  await send(SHORT_WAY, sent);
  await send(LONG_WAY, sent);
  expect(ways).toEqual(["short", "long"]);
});
