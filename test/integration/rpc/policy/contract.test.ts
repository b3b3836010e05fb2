import { type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ListBrandsResponseSchema } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { RequestId } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { methodPolicy } from "../../../../src/rpc/policy/method-policy.ts";
import { readPolicies } from "../../../../src/rpc/policy/read-policies.ts";
import { readServices, unboundedFields } from "../../../support/contract/contract.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

const services = await readServices();
const methods = services.flatMap((service) =>
  service.methods.map((method) => ({ name: method.name, method })),
);
const isRead = (name: string) => /^(Get|List|BatchGet|Verify|Watch)/.test(name);
const fieldsOf = (message: DescMessage) => message.fields.map((field) => field.name);

/** The messages of the contracts by name: requests, responses and the messages within them. */
const messages = new Map<string, DescMessage>();
const collect = (message: DescMessage) => {
  if (messages.get(message.name) === message || !message.typeName.startsWith("cartwright.")) return;
  messages.set(message.name, message);
  for (const field of message.fields) if (field.message !== undefined) collect(field.message);
};
for (const { method } of methods) for (const message of [method.input, method.output]) collect(message);

test("the contracts have six services with methods", () => {
  expect(services.map((service) => service.typeName)).toEqual(
    expect.arrayContaining([
      "cartwright.catalog.v1.CatalogService",
      "cartwright.customer.v1.CustomerService",
      "cartwright.identity.v1.IdentityService",
      "cartwright.order.v1.OrderService",
      "cartwright.review.v1.ReviewService",
      "cartwright.tracker.v1.TrackerService",
    ]),
  );
  expect(methods.length).toBeGreaterThanOrEqual(48);
});

describe("bounds", () => {
  const mask = "its paths are compared with the names of the fields";
  /** Fields that need no rule, with the reason. */
  const exceptions: Record<string, string> = {
    "GetProductRequest.read_mask": mask,
    "BatchGetProductsRequest.read_mask": mask,
    "ListProductsRequest.read_mask": mask,
    "UpdateProductRequest.update_mask": mask,
    "UpdateCategoryRequest.update_mask": mask,
    "UpdateCustomerRequest.update_mask": mask,
    "UpdateShippingZoneRequest.update_mask": mask,
    "UpdateTaxZoneRequest.update_mask": mask,
    "UpdateFulfillmentRequest.update_mask": mask,
  };

  test("every request field has a bound, except output-only fields and field masks", () => {
    const unbounded = methods.flatMap(({ method }) => [...unboundedFields(method.input)]);
    const unexplained = new Map(unbounded.filter(([name]) => !Object.hasOwn(exceptions, name)));
    expect(Object.fromEntries(unexplained)).toEqual({});
    const names = new Set(unbounded.map(([name]) => name));
    expect(Object.keys(exceptions).filter((name) => !names.has(name))).toEqual([]);
  });

  test("the check of bounds reports fields without one", () => {
    expect(Object.fromEntries(unboundedFields(ListBrandsResponseSchema))).toEqual({
      "Brand.name": "has no rule",
      "Brand.prices": "has no max_items",
      "Brand.product_count": "has no rule",
      "ListBrandsResponse.brands": "has no max_items",
      "ListBrandsResponse.next_page_token": "has no rule",
      "PriceStats.product_count": "has no rule",
    });
  });
});

describe.each(methods)("$name", ({ name, method }) => {
  test("a method has a policy and declares whether it has side effects", () => {
    expect(methodPolicy(method)).toBeDefined();
    const { NO_SIDE_EFFECTS, IDEMPOTENT, IDEMPOTENCY_UNKNOWN } = MethodOptions_IdempotencyLevel;
    // A read whose requests must not be in URLs, which have NO_SIDE_EFFECTS.
    const ofOthers = name === "QuoteOrder" ? IDEMPOTENT : IDEMPOTENCY_UNKNOWN;
    expect(method.idempotency).toBe(isRead(name) ? NO_SIDE_EFFECTS : ofOthers);
  });

  test("a method has a request and a response message of its own", () => {
    expect([method.input.name, method.output.name]).toEqual([`${name}Request`, `${name}Response`]);
  });

  test("a method has the fields of its standard method in request and response", () => {
    expect(fieldsOf(method.input)).toEqual(expect.arrayContaining(requestFields(name)));
    const first = firstResponseField(name);
    if (first !== undefined) expect(fieldsOf(method.output)[0]).toBe(first);
    const requestId = method.input.fields.find((field) => field.name === "request_id");
    expect(requestId?.scalar ?? ScalarType.STRING).toBe(ScalarType.STRING);
    const declared = methodPolicy(method)?.requestId !== RequestId.UNSPECIFIED;
    expect(declared).toBe(requestId !== undefined);
    expect(isRead(name) && requestId !== undefined).toBe(false);
  });
});

test("all policies are valid", () => {
  expect(readPolicies(services).size).toBe(methods.length);
});

const lists = methods.filter(({ name }) => name.startsWith("List"));

test.each(lists)("$name returns pages", ({ method }: { method: DescMethod }) => {
  const { field: request } = method.input;
  const { field: response } = method.output;
  expect([request.pageSize?.scalar, request.pageToken?.scalar]).toEqual([
    ScalarType.INT32,
    ScalarType.STRING,
  ]);
  expect(response.nextPageToken?.scalar).toBe(ScalarType.STRING);
  expect(method.output.fields[0]?.fieldKind).toBe("list");
});

const ORDER_CHANGE = ["id", "etag", "request_id"];

/** Returns the request fields that the standard methods (AIP-131 to 135) require. */
function requestFields(name: string): string[] {
  const [verb = "", ...rest] = name.split(/(?=[A-Z])/);
  const resource = rest.join("_").toLowerCase();
  const known: Record<string, string[]> = {
    CreateOrder: ["request_id", "order", "validate_only"],
    CancelOrder: ORDER_CHANGE,
    CancelOrderItems: ORDER_CHANGE,
    EndPromotion: ORDER_CHANGE,
    GetProduct: ["id", "sku", "show_deleted", "read_mask"],
    AdjustStock: ["product_id", "delta", "expected_quantity", "reason", "effective_time", "request_id"],
    RecordPurchase: ["purchase"],
    GetPurchaseStats: ["promotion_id", "product_id", "timeframe"],
    GetCatalogStats: [],
    GetMe: [],
    // Without request_id: the server cannot return the secret a second time.
    CreateApiKey: ["api_key"],
    // Without etag: reviews never change.
    DeleteReview: ["id"],
    ListProducts: [
      ...[
        "page_size",
        "page_token",
        "category_id",
        "brand",
        "min_price",
        "max_price",
        "in_stock_only",
        "query",
      ],
      ...["order_by", "read_mask", "total", "show_deleted"],
    ],
  };
  const byVerb: Record<string, string[]> = {
    Create: [resource, "request_id", "validate_only"],
    Update: [resource, "update_mask", "request_id", "validate_only"],
    Delete: ["id", "etag"],
    Undelete: ["id", "etag"],
    List: ["page_size", "page_token"],
    Get: ["id"],
  };
  return known[name] ?? byVerb[verb] ?? [];
}

/** Returns the first field of a response: the resource, in a field of its name. */
function firstResponseField(name: string): string | undefined {
  const known: Record<string, string | undefined> = {
    AdjustStock: "product",
    CancelOrderItems: "order",
    DeleteCategory: undefined,
    DeleteReview: undefined,
    DeleteShippingZone: undefined,
    DeleteTaxZone: undefined,
    GetMe: "account",
    GetCatalogStats: "stats",
    GetPurchaseStats: "total_count",
  };
  if (Object.hasOwn(known, name)) return known[name];
  const [verb = "", ...rest] = name.split(/(?=[A-Z])/);
  return ["Create", "Get", "Update", "Delete", "Undelete", "Cancel", "End", "Record"].includes(verb)
    ? rest.join("_").toLowerCase()
    : undefined;
}

/** Fields that clients depend on. */
const FIELDS: Record<string, string> = {
  Money: "currency_code, minor_units",
  Product:
    "id, sku, name, description, category_id, brand, price, stock_quantity, rating_average, rating_count, purchase_count, image_uri, attributes, etag, create_time, update_time, delete_time, tax_class, weight_grams",
  Category: "id, slug, name, parent_id, product_count, etag, create_time, update_time",
  Order:
    "id, customer_id, state, items, total_price, promotion_id, allowed_transitions, etag, create_time, update_time, expire_time",
  OrderItem: "product_id, sku, name, unit_price, quantity, total_price",
  Promotion:
    "id, name, state, start_time, end_time, purchase_limit, purchase_limit_per_user, etag, create_time",
  Purchase:
    "event_id, user_id, promotion_id, product_id, order_id, kind, amount, client_address, purchase_time, create_time",
  Review: "id, product_id, author_name, rating, title, body, create_time",
  Customer: "id, email, name, etag, create_time, update_time, delete_time",
  ListProductsResponse: "products, next_page_token, total_size",
  CreateOrderResponse: "order, replayed",
  RecordPurchaseResponse: "purchase, duplicate",
  GetPurchaseStatsResponse: "total_count, recent_count, total_amount, recent_amount, as_of_time",
};

test.each(Object.entries(FIELDS))("%s has its fixed fields", (name, fields) => {
  const message = messages.get(name);
  expect(message === undefined ? [] : fieldsOf(message)).toEqual(expect.arrayContaining(fields.split(", ")));
});

test.each([
  ["Purchase", "kind", ["UNSPECIFIED", "SALE", "REVERSAL"]],
  [
    "AdjustStockRequest",
    "reason",
    ["UNSPECIFIED", "RECOUNT", "RECEIVED", "DAMAGED", "RETURNED", "CORRECTION"],
  ],
  ["ListProductsRequest", "total", ["UNSPECIFIED", "NONE", "ESTIMATED", "EXACT"]],
])("%s.%s has its fixed values", (name, field, values) => {
  const { enum: kind } = messages.get(name)?.fields.find((candidate) => candidate.name === field) ?? {};
  const prefix = `${kind?.name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()}_`;
  expect(kind?.values.map((value) => value.name.replace(prefix, ""))).toEqual(expect.arrayContaining(values));
});

describe("the server", () => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await startShop();
  });
  afterAll(() => shop.close());

  test.each(methods)("the server implements $name", async ({ method }: { method: DescMethod }) => {
    // A stream has its messages in envelopes: one envelope with the two bytes "{}".
    const isStream = method.methodKind !== "unary";
    const response = await fetch(`${shop.url}/${method.parent.typeName}/${method.name}`, {
      method: "POST",
      headers: { "content-type": isStream ? "application/connect+json" : "application/json" },
      body: isStream ? "\0\0\0\0\u0002{}" : "{}",
    });
    const text = await response.text();
    // Methods for signed-in people are rejected while ACCESS is off.
    expect([200, 400, 403]).toContain(response.status);
    expect(text).not.toContain("unimplemented");
  });
});
