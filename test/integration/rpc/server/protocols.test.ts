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

describe.each(transportNames)("%s", (name) => {
  test("answers a call", async () => {
    const { url } = await startRpcServer();
    const client = createClient(CatalogService, transports(url)[name]);
    const { product } = await client.getProduct({ key: { case: "sku", value: "A-1 ü" } });
    expect(product?.sku).toBe("A-1 ü");
  });

  test("compresses large answers", async () => {
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
    // Scripts that GET cannot ask for a compression: the browser does, unseen.
    if (name !== "Connect GET") expect(encoding).toBe("gzip");
  });

  test("tells of a method without an implementation", async () => {
    const { url } = await startRpcServer();
    const client = createClient(CatalogService, transports(url)[name]);
    const error = await client.listBrands({}).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.Unimplemented });
    expect(error).toSatisfy(
      (error: ConnectError) => error.findDetails(ErrorInfoSchema)[0]?.reason === "NOT_IMPLEMENTED",
    );
  });
});

test("@grpc/grpc-js is answered", async () => {
  const { port } = await startRpcServer();
  const answer = await callGrpcJs(grpcJs(port), getProduct, { key: { case: "sku", value: "A-1" } });
  expect(answer.product?.sku).toBe("A-1");
});

test("HTTP/1.1 and HTTP/2 are spoken on one port at the same time", async () => {
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
  const answers = await Promise.all(calls);
  expect(answers.map((answer) => answer.product?.sku)).toEqual(answers.map((_, index) => `${index % 20}`));
});

describe("JSON", () => {
  test("shows fields that are 0 or empty", async () => {
    const { url } = await startRpcServer();
    const answer = await post(url, getProduct, { sku: "A-1" });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      product: { sku: "A-1", name: "", stockQuantity: "0", attributes: {} },
    });
  });

  test("refuses a field that does not exist, by its name", async () => {
    const { url } = await startRpcServer();
    const answer = await post(url, getProduct, { skuu: "A-1" });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining('"skuu"'),
      details: [
        { type: "google.rpc.ErrorInfo", debug: { reason: "MALFORMED_REQUEST", domain: "cartwright" } },
      ],
    });
  });

  test.each([
    ["no JSON", "{", 400],
    ["an array", "[]", 400],
    ["a wrong type", '{"sku": 1}', 400],
    ["nothing", "", 400],
  ])("refuses %s", async (_, body, status) => {
    const { url } = await startRpcServer();
    const answer = await post(url, getProduct, body);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ code: "invalid_argument" });
  });

  test("is understood by gRPC too", async () => {
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
  test("reads with a JSON message", async () => {
    const { url } = await startRpcServer();
    const query = new URLSearchParams({ connect: "v1", encoding: "json", message: '{"sku":"A-1"}' });
    const answer = await fetch(`${methodUrl(url, getProduct)}?${query}`);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ product: { sku: "A-1" } });
  });

  test("reads with a binary message", async () => {
    const { url } = await startRpcServer();
    const bytes = toBinary(GetProductRequestSchema, {
      $typeName: "cartwright.catalog.v1.GetProductRequest",
      key: { case: "sku", value: "A-1" },
      showDeleted: false,
    });
    const message = Buffer.from(bytes).toString("base64url");
    const answer = await fetch(`${methodUrl(url, getProduct)}?encoding=proto&base64=1&message=${message}`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/proto");
  });

  test.each([
    ["base64 that is none", "encoding=json&base64=1&message=!!!"],
    ["base64 that is none, in a binary message", "encoding=proto&base64=1&message=!!!"],
    ["base64 that is cut", "encoding=json&base64=1&message=A"],
    ["base64 with bad percent-encoding", "encoding=json&base64=1&message=%zz"],
    ["bad percent-encoding", "encoding=json&message=%zz"],
    ["bad percent-encoding in a binary message", "encoding=proto&message=%zz"],
    ["no message", "encoding=json"],
    ["no message in base64", "encoding=json&base64=1"],
    ["a compressed message that is not", "encoding=json&base64=1&compression=gzip&message=e30"],
    ["a compressed message that is cut", "encoding=json&base64=1&compression=gzip&message=H4sIAAAA"],
  ])("with %s is malformed", async (_, query) => {
    const { url, lines } = await startRpcServer();
    const answer = await fetch(`${methodUrl(url, getProduct)}?connect=v1&${query}`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: "invalid_argument",
      details: [{ debug: { reason: "MALFORMED_REQUEST", domain: "cartwright" } }],
    });
    expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });

  test("without a message in binary is an empty message", async () => {
    const { url } = await startRpcServer();
    const answer = await fetch(`${methodUrl(url, getProduct)}?encoding=proto&base64=1`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ details: [{ debug: { reason: "INVALID_REQUEST" } }, {}] });
  });

  test.each(["encoding=xml&message={}", "message={}"])(
    "in an encoding that is not spoken is 415: %s",
    async (query) => {
      const { url } = await startRpcServer();
      expect((await fetch(`${methodUrl(url, getProduct)}?${query}`)).status).toBe(415);
    },
  );

  test("in a compression that is not spoken is UNIMPLEMENTED", async () => {
    const { url } = await startRpcServer();
    const answer = await fetch(
      `${methodUrl(url, getProduct)}?encoding=json&compression=zip&base64=1&message=e30`,
    );
    expect(answer.status).toBe(501);
    expect(await answer.json()).toMatchObject({
      code: "unimplemented",
      details: [{ debug: { reason: "NOT_IMPLEMENTED" } }],
    });
  });

  test("is for methods without side effects only", async () => {
    const { url } = await startRpcServer();
    const answer = await fetch(`${methodUrl(url, createProduct)}?encoding=json&message={}`);
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toBe("POST");
  });
});

describe("what is not here", () => {
  test("is told by a sentence", async () => {
    const { url } = await startRpcServer();
    const answer = await fetch(`${url}/products/1`);
    expect(answer.status).toBe(404);
    expect(await answer.text()).toContain("Not found: /products/1.");
  });

  test("is told to Connect callers as a Connect error", async () => {
    const { url } = await startRpcServer();
    const answer = await fetch(`${url}/cartwright.catalog.v1.CatalogService/Nope`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ code: "unimplemented" });
  });

  test("is UNIMPLEMENTED to gRPC callers", async () => {
    const { port } = await startRpcServer();
    const unknown = { ...getProduct, name: "Nope" };
    await expect(callGrpcJs(grpcJs(port), unknown, {})).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      details: expect.stringContaining("CatalogService/Nope"),
    });
  });

  test("a media type that is not spoken is 415", async () => {
    const { url } = await startRpcServer();
    const answer = await post(url, getProduct, "<sku/>", { "content-type": "application/xml" });
    expect(answer.status).toBe(415);
  });

  test("a compression that is not spoken is UNIMPLEMENTED, with those that are", async () => {
    const { url } = await startRpcServer();
    const answer = await post(url, getProduct, "{}", { "content-encoding": "br" });
    expect(answer.status).toBe(501);
    expect(await answer.text()).toContain("gzip");
  });
});

test("GET / tells what this is", async () => {
  const { url } = await startRpcServer();
  const text = await (await fetch(url)).text();
  expect(text).toContain("cartwright.catalog.v1.CatalogService");
});

test.each([
  ["HTTP/1.1 with a Host that is none", "HTTP/1.1", "Host: a b[\r\n"],
  ["HTTP/1.0 without a Host", "HTTP/1.0", ""],
])("%s is refused and leaves the server up", async (_, version, host) => {
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

test("HEAD is answered without a body", async () => {
  const { port } = await startRpcServer();
  const length = await new Promise((resolve, reject) => {
    request({ port, method: "HEAD", path: "/healthz", agent: false }, (answer) => {
      answer.resume();
      resolve(answer.headers["content-length"]);
    })
      .on("error", reject)
      .end();
  });
  expect(length).toBe("3");
});
