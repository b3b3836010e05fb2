import { create, getExtension, setExtension, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { field as fieldOption } from "../../../../gen/buf/validate/validate_pb.ts";
import {
  CatalogService,
  CreateProductRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { alterService } from "../../../support/rpc/altered-contract.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { callGrpcJs, grpcJs, post, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct, createProduct, listProducts } = CatalogService.method;
const { createOrder } = OrderService.method;
const uuid = "0190b1a2-3c4d-7e5f-8a9b-0c1d2e3f4a5b";

/** Returns the violations of a call that must be invalid, by field. */
async function violationsOf(call: Promise<unknown>): Promise<Record<string, string>> {
  const error = await call.then(
    () => new ConnectError("the call succeeded"),
    (error: unknown) => ConnectError.from(error),
  );
  expect(error).toMatchObject({ code: Code.InvalidArgument });
  const [info] = error.findDetails(ErrorInfoSchema);
  expect(info).toMatchObject({ reason: "INVALID_REQUEST", domain: "cartwright" });
  const [bad] = error.findDetails(BadRequestSchema);
  const violations = bad?.fieldViolations ?? [];
  expect(violations.length).toBeGreaterThan(0);
  return Object.fromEntries(violations.map(({ field, description }) => [field, description]));
}

async function clients() {
  const { url } = await startRpcServer({
    order: { createOrder: () => ({}) },
    catalog: { createProduct: () => ({}), adjustStock: () => ({}) },
  });
  const transport = transports(url)["gRPC over HTTP/2"];
  return {
    url,
    orders: createClient(OrderService, transport),
    catalog: createClient(CatalogService, transport),
  };
}

describe("the rules of the contract", () => {
  test("the rules of the contract report each field that violates them", async () => {
    const { orders } = await clients();
    const items = [
      { productId: uuid, quantity: 1n },
      { productId: "x", quantity: 0n },
    ];
    expect(await violationsOf(orders.createOrder({ requestId: "", order: { items } }))).toEqual({
      request_id: expect.any(String),
      "order.items[1].product_id": expect.stringContaining("UUID"),
      "order.items[1].quantity": expect.stringContaining("1"),
    });
  });

  test.each([0n, -1n, 2n ** 31n, 2n ** 63n - 1n])(
    "the rules of the contract reject a quantity of %s",
    async (quantity) => {
      const { orders } = await clients();
      const order = { items: [{ productId: uuid, quantity }] };
      expect(await violationsOf(orders.createOrder({ requestId: uuid, order }))).toHaveProperty([
        "order.items[0].quantity",
      ]);
    },
  );

  test("the rules of the contract report map entries by their keys", async () => {
    const { catalog } = await clients();
    const product = { sku: "A", attributes: { color: "x".repeat(501), "": "y" } };
    expect(Object.keys(await violationsOf(catalog.createProduct({ product }))).sort()).toEqual([
      'product.attributes[""] (key)',
      'product.attributes["color"]',
    ]);
  });

  test("the rules of the contract report a oneof that is not set", async () => {
    const { catalog } = await clients();
    expect(await violationsOf(catalog.getProduct({}))).toHaveProperty("key");
  });

  test("the rules of the contract report the message of a rule that has one", async () => {
    const { catalog } = await clients();
    const readMask = { paths: Array.from({ length: 101 }, () => "sku") };
    const call = catalog.getProduct({ key: { case: "id", value: uuid }, readMask });
    expect(await violationsOf(call)).toEqual({ read_mask: "must name at most 50 fields" });
  });

  test("the rules of the contract report no more violations than fit into trailers", async () => {
    const { orders } = await clients();
    const items = Array.from({ length: 100 }, () => ({ productId: "x", quantity: 0n }));
    const violations = await violationsOf(orders.createOrder({ requestId: uuid, order: { items } }));
    expect(Object.keys(violations).length).toBeGreaterThan(20);
    expect(Object.keys(violations).length).toBeLessThanOrEqual(50);
    expect(JSON.stringify(violations).length).toBeLessThan(5_000);
  });

  test("the rules of the contract apply to @grpc/grpc-js, which gets the first violation as the message", async () => {
    const { port } = await startRpcServer();
    await expect(callGrpcJs(grpcJs(port), getProduct, {})).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/^key: /),
    });
  });

  test("the rules of the contract apply to JSON", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, createOrder, { requestId: uuid, order: { items: [{ quantity: "1" }] } });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "invalid_argument",
      details: [
        { debug: { reason: "INVALID_REQUEST" } },
        {
          type: "google.rpc.BadRequest",
          debug: { fieldViolations: [{ field: "order.items[0].product_id" }] },
        },
      ],
    });
  });

  test("a rule of the contract that cannot be evaluated is an internal error", async () => {
    const service = alterService(CatalogService, (file) => {
      const field = file.messageType.find(({ name }) => name === "GetProductRequest")?.field[1];
      if (field?.options === undefined) throw new Error("no options");
      const rules = getExtension(field.options, fieldOption);
      rules.cel.push({ $typeName: "buf.validate.Rule", id: "broken", message: "", expression: "this.nope(" });
      setExtension(field.options, fieldOption, rules);
    });
    const { url, lines } = await startRpcServer({
      services: [service],
      routes: (router) => router.service(service, { getProduct: () => ({}) }),
    });
    const response = await post(url, getProduct, { sku: "A" });
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(text).not.toContain("nope");
    expect(lines.some(({ level }) => level === "error")).toBe(true);
  });
});

describe("a string", () => {
  test("a string must not contain NUL, with and without a rule", async () => {
    const { catalog } = await clients();
    const request = { query: "a\0b", readMask: { paths: ["name", "sku\0"] } };
    expect(await violationsOf(catalog.listProducts(request))).toEqual({
      query: "must not contain a NUL character",
      "read_mask.paths[1]": "must not contain a NUL character",
    });
    const product = { name: "x", attributes: { "a\0": "1" } };
    const violations = await violationsOf(catalog.createProduct({ product }));
    expect(Object.keys(violations)[0]).toBe('product.attributes["a\\u0000"]');
  });

  test("a string in JSON must not contain NUL", async () => {
    const { url } = await startRpcServer();
    const response = await post(url, listProducts, '{"query": "a\\u0000b"}');
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("NUL");
  });

  test.each([
    '{"query": "\\ud800"}',
    '{"query": "\\udc00x"}',
    '{"readMask": "a\\ud800"}',
    '{"pageToken": "\\ud800\\ud800"}',
  ])("a string in JSON must not contain lone surrogates: %s", async (body) => {
    const { url } = await startRpcServer();
    const response = await post(url, listProducts, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: "invalid_argument" });
  });

  test.each([
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["an overlong NUL", [0xc0, 0x80]],
    ["half a character", [0xc3]],
  ])("a string in gRPC must not contain the bytes of %s", async (_, bytes) => {
    const { url } = await startRpcServer();
    const stream = openGrpc(connectHttp2(url), "/cartwright.catalog.v1.CatalogService/GetProduct");
    stream.end(envelope(Buffer.from([0x12, bytes.length, ...bytes])));
    expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
  });

  const halfCharacter = Buffer.concat([Buffer.from('{"sku":"'), Buffer.from([0xc3]), Buffer.from('"}')]);
  const method = "/cartwright.catalog.v1.CatalogService/GetProduct";
  const get = (message: string) => [`?connect=v1&encoding=json&${message}`, {}] as const;
  const sent = (body: Uint8Array, type: string) =>
    ["", { method: "POST", body, headers: { "content-type": type } }] as const;

  test.each([
    ["a body", sent(halfCharacter, "application/json")],
    ["a body on the path through Connect", sent(halfCharacter, "application/json; charset=utf-8")],
    ["a truncated body", sent(halfCharacter.subarray(0, -2), "application/json; charset=utf-8")],
    ["a query", get(`message=${encodeURIComponent('{"sku":"')}%c3${encodeURIComponent('"}')}`)],
    ["a query in base64", get(`base64=1&message=${halfCharacter.toString("base64url")}`)],
  ])("a string in JSON in %s must not contain half a character", async (_, [query, init]) => {
    const { url } = await startRpcServer();
    const response = await fetch(`${url}${method}${query}`, init);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      code: "invalid_argument",
      message: "The message is not valid UTF-8. Encode JSON as UTF-8.",
      details: [{ type: "google.rpc.ErrorInfo" }],
    });
  });

  test("a string may contain any other Unicode", async () => {
    const { url } = await startRpcServer();
    const sku = "naïve \u{1F600} \u202e \ufeff \ufffd \u{10ffff}";
    const catalog = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
    const response = await catalog.getProduct({ key: { case: "sku", value: sku } });
    expect(response.product?.sku).toBe(sku);
  });
});

test("a body that is not a message of the request type is INVALID_ARGUMENT", async () => {
  const { url } = await startRpcServer();
  const valid = toBinary(CreateProductRequestSchema, create(CreateProductRequestSchema, { product: {} }));
  const stream = openGrpc(connectHttp2(url), `/${createProduct.parent.typeName}/CreateProduct`);
  stream.end(envelope(Buffer.concat([valid, Buffer.from([0x0a, 0x7f])])));
  expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
  const response = await fetch(`${url}/${createProduct.parent.typeName}/CreateProduct`, {
    method: "POST",
    headers: { "content-type": "application/proto" },
    body: new Uint8Array([0x0a, 0x7f]),
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({
    code: "invalid_argument",
    details: [{ debug: { reason: "MALFORMED_REQUEST" } }],
  });
});
