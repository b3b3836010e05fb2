import { request } from "node:http";
import { connect } from "node:net";
import { toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import {
  CatalogService,
  GetProductRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { connectHttp2 } from "../../../support/rpc/raw-http2.ts";
import {
  callGrpcJs,
  grpcJs,
  methodUrl,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct, createProduct } = CatalogService.method;

describe.each(transportNames)("by %s", (name) => {
  test("a call gets its response", async () => {
    const { url } = await startRpcServer();
    const client = createClient(CatalogService, transports(url)[name]);
    const { product } = await client.getProduct({ key: { case: "sku", value: "A-1 ü" } });
    expect(product?.sku).toBe("A-1 ü");
  });

  test("large responses are compressed", async () => {
    const { url } = await startRpcServer({
      catalog: { getProduct: () => ({ product: { name: "x".repeat(100_000) } }) },
    });
    const client = createClient(CatalogService, transports(url)[name]);
    let encoding: string | null = null;
    const { product } = await client.getProduct(
      { key: { case: "sku", value: "a" } },
      {
        onHeader: (header) => {
          encoding = header.get("grpc-encoding") ?? header.get("content-encoding");
        },
      },
    );
    expect(product?.name).toHaveLength(100_000);
    // A script cannot set Accept-Encoding of a GET: the browser does.
    if (name !== "Connect GET") expect(encoding).toBe("gzip");
  });

  test("a method without an implementation is UNIMPLEMENTED", async () => {
    const { url } = await startRpcServer();
    const client = createClient(CatalogService, transports(url)[name]);
    const error = await client.listBrands({}).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.Unimplemented });
    expect(error).toSatisfy(
      (error: ConnectError) => error.findDetails(ErrorInfoSchema)[0]?.reason === "NOT_IMPLEMENTED",
    );
  });
});

test("a call by @grpc/grpc-js gets its response", async () => {
  const { port } = await startRpcServer();
  const response = await callGrpcJs(grpcJs(port), getProduct, { key: { case: "sku", value: "A-1" } });
  expect(response.product?.sku).toBe("A-1");
});

test("HTTP/1.1 and HTTP/2 are served on one port at the same time", async () => {
  const { url, port } = await startRpcServer();
  const all = transports(url);
  const calls = transportNames.flatMap((name) =>
    Array.from({ length: 20 }, (_, index) =>
      createClient(CatalogService, all[name]).getProduct({ key: { case: "sku", value: `${index}` } }),
    ),
  );
  const other = grpcJs(port);
  for (let index = 0; index < 20; index += 1) {
    calls.push(callGrpcJs(other, getProduct, { key: { case: "sku", value: `${index}` } }));
  }
  const responses = await Promise.all(calls);
  expect(responses.map((response) => response.product?.sku)).toEqual(
    responses.map((_, index) => `${index % 20}`),
  );
});

describe("JSON", () => {
  test("JSON contains fields that are 0 or empty", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, getProduct, { sku: "A-1" });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      product: { sku: "A-1", name: "", stockQuantity: "0", attributes: {} },
    });
  });

  test("JSON with an unknown field is rejected, and the error names it", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, getProduct, { skuu: "A-1" });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining('"skuu"'),
      details: [
        { type: "google.rpc.ErrorInfo", debug: { reason: "MALFORMED_REQUEST", domain: "cartwright" } },
      ],
    });
  });

  test.each([
    ["malformed", "{", 400],
    ["an array", "[]", 400],
    ["of a wrong type", '{"sku": 1}', 400],
    ["empty", "", 400],
  ])("JSON that is %s is rejected", async (_, body, status) => {
    const { url } = await startRpcServer();
    const response = await post(url, getProduct, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code: "invalid_argument" });
  });

  test("JSON is a codec of gRPC too", async () => {
    const { url } = await startRpcServer();
    const session = connectHttp2(url);
    const stream = session.request({
      ":method": "POST",
      ":path": new URL(methodUrl(url, getProduct)).pathname,
      "content-type": "application/grpc+json",
      te: "trailers",
    });
    const json = Buffer.from('{"sku":"A-1"}');
    const head = Buffer.alloc(5);
    head.writeUInt32BE(json.length, 1);
    stream.end(Buffer.concat([head, json]));
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(JSON.parse(Buffer.concat(chunks).subarray(5).toString()).product.sku).toBe("A-1");
  });
});

describe("GET", () => {
  test("a GET with a JSON message gets its response", async () => {
    const { url } = await startRpcServer();
    const query = new URLSearchParams({ connect: "v1", encoding: "json", message: '{"sku":"A-1"}' });
    const response = await fetch(`${methodUrl(url, getProduct)}?${query}`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ product: { sku: "A-1" } });
  });

  test("a GET with a binary message gets its response", async () => {
    const { url } = await startRpcServer();
    const bytes = toBinary(GetProductRequestSchema, {
      $typeName: "cartwright.catalog.v1.GetProductRequest",
      key: { case: "sku", value: "A-1" },
      showDeleted: false,
    });
    const message = Buffer.from(bytes).toString("base64url");
    const response = await fetch(`${methodUrl(url, getProduct)}?encoding=proto&base64=1&message=${message}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/proto");
  });

  test.each([
    ["malformed base64", "encoding=json&base64=1&message=!!!"],
    ["malformed base64 of a binary message", "encoding=proto&base64=1&message=!!!"],
    ["truncated base64", "encoding=json&base64=1&message=A"],
    ["base64 with malformed percent-encoding", "encoding=json&base64=1&message=%zz"],
    ["malformed percent-encoding", "encoding=json&message=%zz"],
    ["malformed percent-encoding of a binary message", "encoding=proto&message=%zz"],
    ["no message", "encoding=json"],
    ["no message in base64", "encoding=json&base64=1"],
    ["a compressed message that is not compressed", "encoding=json&base64=1&compression=gzip&message=e30"],
    ["a truncated compressed message", "encoding=json&base64=1&compression=gzip&message=H4sIAAAA"],
  ])("a GET with %s is MALFORMED_REQUEST", async (_, query) => {
    const { url, lines } = await startRpcServer();
    const response = await fetch(`${methodUrl(url, getProduct)}?connect=v1&${query}`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "invalid_argument",
      details: [{ debug: { reason: "MALFORMED_REQUEST", domain: "cartwright" } }],
    });
    expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });

  test("a GET without a binary message has an empty one", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(`${methodUrl(url, getProduct)}?encoding=proto&base64=1`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ details: [{ debug: { reason: "INVALID_REQUEST" } }, {}] });
  });

  test.each(["encoding=xml&message={}", "message={}"])(
    "a GET in an unknown encoding is 415: %s",
    async (query) => {
      const { url } = await startRpcServer();
      expect((await fetch(`${methodUrl(url, getProduct)}?${query}`)).status).toBe(415);
    },
  );

  test("a GET in an unknown compression is UNIMPLEMENTED", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(
      `${methodUrl(url, getProduct)}?encoding=json&compression=zip&base64=1&message=e30`,
    );
    expect(response.status).toBe(501);
    expect(await response.json()).toMatchObject({
      code: "unimplemented",
      details: [{ debug: { reason: "NOT_IMPLEMENTED" } }],
    });
  });

  test("a GET of a method with side effects is 405", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(`${methodUrl(url, createProduct)}?encoding=json&message={}`);
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("POST");
  });
});

describe("what the server does not have", () => {
  test("an unknown path is 404 with a text", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(`${url}/products/1`);
    expect(response.status).toBe(404);
    expect(await response.text()).toContain("Not found: /products/1.");
  });

  test("an unknown method is a Connect error for Connect callers", async () => {
    const { url } = await startRpcServer();
    const response = await fetch(`${url}/cartwright.catalog.v1.CatalogService/Nope`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "unimplemented" });
  });

  test("an unknown method is UNIMPLEMENTED for gRPC callers", async () => {
    const { port } = await startRpcServer();
    const unknown = { ...getProduct, name: "Nope" };
    await expect(callGrpcJs(grpcJs(port), unknown, {})).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      details: expect.stringContaining("CatalogService/Nope"),
    });
  });

  test("an unknown media type is 415", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, getProduct, "<sku/>", { "content-type": "application/xml" });
    expect(response.status).toBe(415);
  });

  test("an unknown compression is UNIMPLEMENTED, and the error lists the supported ones", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, getProduct, "{}", { "content-encoding": "br" });
    expect(response.status).toBe(501);
    expect(await response.text()).toContain("gzip");
  });
});

test("GET / lists the services", async () => {
  const { url } = await startRpcServer();
  const text = await (await fetch(url)).text();
  expect(text).toContain("cartwright.catalog.v1.CatalogService");
});

test.each([
  ["HTTP/1.1 with a malformed Host", "HTTP/1.1", "Host: a b[\r\n"],
  ["HTTP/1.0 without a Host", "HTTP/1.0", ""],
])("%s is rejected, and the server goes on", async (_, version, host) => {
  const { url, port } = await startRpcServer();
  const socket = connect(port, "127.0.0.1");
  const path = new URL(methodUrl(url, getProduct)).pathname;
  socket.write(
    `POST ${path} ${version}\r\n${host}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
  );
  let text = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket) {
    text += chunk;
    if (text.includes("\r\n\r\n")) break;
  }
  expect(text).toMatch(/^HTTP\/1\.1 400/);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});

test("the response to HEAD has no body", async () => {
  const { port } = await startRpcServer();
  const length = await new Promise((resolve, reject) => {
    request({ port, method: "HEAD", path: "/healthz", agent: false }, (response) => {
      response.resume();
      resolve(response.headers["content-length"]);
    })
      .on("error", reject)
      .end();
  });
  expect(length).toBe("3");
});
