import { create, getExtension, setExtension, toBinary } from "@bufbuild/protobuf";
import { StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { field as fieldOption } from "../../../../gen/buf/validate/validate_pb.ts";
import { ProductSchema } from "../../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import {
  CatalogService,
  CreateProductRequestSchema,
  GetCatalogStatsRequestSchema,
  GetProductRequestSchema,
} from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { checkStrings } from "../../../../src/rpc/validation/string-safety.ts";
import { alterService } from "../../../support/rpc/altered-contract.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { callGrpcJs, grpcJs, post, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct, createProduct, listProducts } = CatalogService.method;
const { createOrder } = OrderService.method;
const uuid = "0190b1a2-3c4d-7e5f-8a9b-0c1d2e3f4a5b";

/** What was refused, by field. */
async function refused(call: Promise<unknown>): Promise<Record<string, string>> {
  const error = await call.then(
    () => new ConnectError("it was not refused"),
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

describe("rules of the contract", () => {
  test("name each field that breaks them", async () => {
    const { orders } = await clients();
    const items = [
      { productId: uuid, quantity: 1n },
      { productId: "x", quantity: 0n },
    ];
    expect(await refused(orders.createOrder({ requestId: "", order: { items } }))).toEqual({
      request_id: expect.any(String),
      "order.items[1].product_id": expect.stringContaining("UUID"),
      "order.items[1].quantity": expect.stringContaining("1"),
    });
  });

  test.each([0n, -1n, 2n ** 31n, 2n ** 63n - 1n])("refuse a quantity of %s", async (quantity) => {
    const { orders } = await clients();
    const order = { items: [{ productId: uuid, quantity }] };
    expect(await refused(orders.createOrder({ requestId: uuid, order }))).toHaveProperty([
      "order.items[0].quantity",
    ]);
  });

  test("name map entries by their key", async () => {
    const { catalog } = await clients();
    const product = { sku: "A", attributes: { color: "x".repeat(501), "": "y" } };
    expect(Object.keys(await refused(catalog.createProduct({ product }))).sort()).toEqual([
      'product.attributes[""] (key)',
      'product.attributes["color"]',
    ]);
  });

  test("name a oneof that is not set", async () => {
    const { catalog } = await clients();
    expect(await refused(catalog.getProduct({}))).toHaveProperty("key");
  });

  test("speak in their own words where the contract has some", async () => {
    const { catalog } = await clients();
    const call = catalog.adjustStock({ productId: uuid, delta: 0n, reason: 1 });
    expect(await refused(call)).toEqual({ delta: "must not be 0" });
  });

  test("report no more than fits into trailers", async () => {
    const { orders } = await clients();
    const items = Array.from({ length: 100 }, () => ({ productId: "x", quantity: 0n }));
    const violations = await refused(orders.createOrder({ requestId: uuid, order: { items } }));
    expect(Object.keys(violations).length).toBeGreaterThan(20);
    expect(Object.keys(violations).length).toBeLessThanOrEqual(50);
    expect(JSON.stringify(violations).length).toBeLessThan(5_000);
  });

  test("are the same for @grpc/grpc-js, which reads the sentence", async () => {
    const { port } = await startRpcServer();
    await expect(callGrpcJs(grpcJs(port), getProduct, {})).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/^key: /),
    });
  });

  test("are the same for JSON", async () => {
    const { url } = await startRpcServer();
    const answer = await post(url, createOrder, { requestId: uuid, order: { items: [{ quantity: "1" }] } });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
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

  test("that cannot be run are our fault", async () => {
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
    const answer = await post(url, getProduct, { sku: "A" });
    expect(answer.status).toBe(500);
    const text = await answer.text();
    expect(text).not.toContain("nope");
    expect(lines.some(({ level }) => level === "error")).toBe(true);
  });
});

describe("text", () => {
  test("holds no NUL, where a rule says so and where none does", async () => {
    const { catalog } = await clients();
    const request = { query: "a\0b", readMask: { paths: ["name", "sku\0"] } };
    expect(await refused(catalog.listProducts(request))).toEqual({
      query: "must not contain a NUL character",
      "read_mask.paths[1]": "must not contain a NUL character",
    });
    const product = { name: "x", attributes: { "a\0": "1" } };
    const violations = await refused(catalog.createProduct({ product }));
    expect(Object.keys(violations)[0]).toBe('product.attributes["a\\u0000"]');
  });

  test("holds no NUL from JSON either", async () => {
    const { url } = await startRpcServer();
    const answer = await post(url, listProducts, '{"query": "a\\u0000b"}');
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("NUL");
  });

  test.each([
    '{"query": "\\ud800"}',
    '{"query": "\\udc00x"}',
    '{"readMask": "a\\ud800"}',
    '{"pageToken": "\\ud800\\ud800"}',
  ])("from JSON has no lone surrogates: %s", async (body) => {
    const { url } = await startRpcServer();
    const answer = await post(url, listProducts, body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: "invalid_argument" });
  });

  test.each([
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["an overlong NUL", [0xc0, 0x80]],
    ["half a character", [0xc3]],
  ])("from gRPC has no bytes that are %s", async (_, bytes) => {
    const { url } = await startRpcServer();
    const stream = openGrpc(connectHttp2(url), "/cartwright.catalog.v1.CatalogService/GetProduct");
    stream.end(envelope(Buffer.from([0x12, bytes.length, ...bytes])));
    expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
  });

  const half = Buffer.concat([Buffer.from('{"sku":"'), Buffer.from([0xc3]), Buffer.from('"}')]);
  const method = "/cartwright.catalog.v1.CatalogService/GetProduct";
  const get = (message: string) => [`?connect=v1&encoding=json&${message}`, {}] as const;
  const sent = (body: Uint8Array, type: string) =>
    ["", { method: "POST", body, headers: { "content-type": type } }] as const;

  test.each([
    ["a body", sent(half, "application/json")],
    ["a body that Connect reads", sent(half, "application/json; charset=utf-8")],
    ["a body that breaks off", sent(half.subarray(0, -2), "application/json; charset=utf-8")],
    ["a query", get(`message=${encodeURIComponent('{"sku":"')}%c3${encodeURIComponent('"}')}`)],
    ["a query in base64", get(`base64=1&message=${half.toString("base64url")}`)],
  ])("from JSON in %s has no bytes that are half a character", async (_, [query, init]) => {
    const { url } = await startRpcServer();
    const answer = await fetch(`${url}${method}${query}`, init);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: "invalid_argument",
      message: "The message is not valid UTF-8. Encode JSON as UTF-8.",
      details: [{ type: "google.rpc.ErrorInfo" }],
    });
  });

  test("is free otherwise", async () => {
    const { url } = await startRpcServer();
    const sku = "naïve \u{1F600} \u202e \ufeff \ufffd \u{10ffff}";
    const catalog = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
    const answer = await catalog.getProduct({ key: { case: "sku", value: sku } });
    expect(answer.product?.sku).toBe(sku);
  });
});

describe("the search for faulty text", () => {
  const faults = (
    ...[schema, message]: [Parameters<typeof checkStrings>[0], Parameters<typeof checkStrings>[1]]
  ) => {
    const paths: string[] = [];
    checkStrings(schema, message, (path) => {
      paths.push(path);
      return false;
    });
    return paths;
  };

  test("goes through fields, lists, maps, oneofs and messages", () => {
    const message = create(CreateProductRequestSchema, {
      requestId: "\ud800",
      product: { sku: "\0", price: { currencyCode: "\0" }, attributes: { k: "\udfff", "\0": "" } },
    });
    expect(faults(CreateProductRequestSchema, message)).toEqual([
      "product.sku",
      "product.price.currency_code",
      'product.attributes["k"]',
      'product.attributes["\\u0000"]',
      "request_id",
    ]);
    const one = create(GetProductRequestSchema, { key: { case: "sku", value: "\0" } });
    expect(faults(GetProductRequestSchema, one)).toEqual(["sku"]);
  });

  test("goes through messages that hold themselves", () => {
    const leaf = create(ValueSchema, { kind: { case: "stringValue", value: "\0" } });
    const list = create(ValueSchema, { kind: { case: "listValue", value: { values: [{}, leaf] } } });
    const struct = create(StructSchema, { fields: { a: list } });
    expect(faults(StructSchema, struct)).toEqual(['fields["a"].list_value.values[1].string_value']);
  });

  test("finds nothing where there is nothing", () => {
    expect(faults(GetCatalogStatsRequestSchema, create(GetCatalogStatsRequestSchema))).toEqual([]);
    expect(faults(ProductSchema, create(ProductSchema, { name: "ü", attributes: { a: "b" } }))).toEqual([]);
  });

  test("ends when it is told to", () => {
    let found = 0;
    const message = create(ProductSchema, { sku: "\0", name: "\0", brand: "\0" });
    checkStrings(ProductSchema, message, () => {
      found += 1;
      return found === 2;
    });
    expect(found).toBe(2);
  });
});

test("a request that is no message of its type is INVALID_ARGUMENT", async () => {
  const { url } = await startRpcServer();
  const valid = toBinary(CreateProductRequestSchema, create(CreateProductRequestSchema, { product: {} }));
  const stream = openGrpc(connectHttp2(url), `/${createProduct.parent.typeName}/CreateProduct`);
  stream.end(envelope(Buffer.concat([valid, Buffer.from([0x0a, 0x7f])])));
  expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
  const answer = await fetch(`${url}/${createProduct.parent.typeName}/CreateProduct`, {
    method: "POST",
    headers: { "content-type": "application/proto" },
    body: new Uint8Array([0x0a, 0x7f]),
  });
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({
    code: "invalid_argument",
    details: [{ debug: { reason: "MALFORMED_REQUEST" } }],
  });
});
