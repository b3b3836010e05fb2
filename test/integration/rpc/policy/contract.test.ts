import { randomUUID } from "node:crypto";
import { create, type DescMessage, type DescMethod, getOption, ScalarType } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { field as fieldRules } from "../../../../gen/buf/validate/validate_pb.ts";
import { ListBrandsResponseSchema } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { RequestId } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { FieldBehavior, field_behavior } from "../../../../gen/google/api/field_behavior_pb.ts";
import { methodPolicy } from "../../../../src/rpc/policy/method-policy.ts";
import { readPolicies } from "../../../../src/rpc/policy/read-policies.ts";
import { hasBehavior, readServices, unboundedFields } from "../../../support/contract.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

const services = await readServices();
const methods = services.flatMap((service) =>
  service.methods.map((method) => ({ name: method.name, method })),
);
const isRead = (name: string) => /^(Get|List|BatchGet)/.test(name);
const fieldsOf = (message: DescMessage) => message.fields.map((field) => field.name);

/** Messages by their own name: requests, answers and all that is in them. */
const messages = new Map<string, DescMessage>();
const collect = (message: DescMessage) => {
  if (messages.get(message.name) === message || !message.typeName.startsWith("cartwright.")) return;
  messages.set(message.name, message);
  for (const field of message.fields) if (field.message !== undefined) collect(field.message);
};
for (const { method } of methods) for (const message of [method.input, method.output]) collect(message);

test("there are six services, and all have methods", () => {
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
  };

  test("every request field has a bound, except output-only fields and field masks", () => {
    const unbounded = methods.flatMap(({ method }) => [...unboundedFields(method.input)]);
    const unexplained = new Map(unbounded.filter(([name]) => !Object.hasOwn(exceptions, name)));
    expect(Object.fromEntries(unexplained)).toEqual({});
    const names = new Set(unbounded.map(([name]) => name));
    expect(Object.keys(exceptions).filter((name) => !names.has(name))).toEqual([]);
  });

  test("the check reports fields without a bound", () => {
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

/** The messages of requests, and all of ours within them. */
const requestMessages = new Map<string, DescMessage>();
const collectRequest = (message: DescMessage): void => {
  if (requestMessages.has(message.typeName) || !message.typeName.startsWith("cartwright.")) return;
  requestMessages.set(message.typeName, message);
  for (const field of message.fields) if (field.message !== undefined) collectRequest(field.message);
};
for (const { method } of methods) collectRequest(method.input);

const namesWith = (message: DescMessage, behavior: FieldBehavior) =>
  message.fields.filter((field) => hasBehavior(field, behavior)).map(({ name }) => name);

describe("field behavior", () => {
  const validator = createValidator();
  const oneofs = (message: DescMessage) => message.oneofs.map(({ name }) => name);
  /** Returns the direct fields, without oneofs, that validation rejects in an empty message. */
  const rejectedWhenEmpty = (message: DescMessage): string[] => {
    const { violations = [] } = validator.validate(message, create(message));
    const names = violations.map(({ field }) => pathToString(field.slice(0, 1)));
    return [...new Set(names)].filter((name) => !oneofs(message).includes(name)).sort();
  };

  test.each(methods)(
    "$name requires the fields that validation rejects when they are empty",
    ({ method }) => {
      expect(namesWith(method.input, FieldBehavior.REQUIRED).sort()).toEqual(rejectedWhenEmpty(method.input));
    },
  );

  test.each([...requestMessages])(
    "%s requires each field that validation rejects when it is empty",
    (_, message) => {
      const required = namesWith(message, FieldBehavior.REQUIRED);
      expect(required).toEqual(expect.arrayContaining(rejectedWhenEmpty(message)));
      for (const field of message.fields) {
        if (getOption(field, fieldRules).required) expect(required).toContain(field.name);
      }
    },
  );

  test.each([...requestMessages])("%s has no field that contradicts itself", (_, message) => {
    for (const field of message.fields) {
      const behaviors = getOption(field, field_behavior);
      if (behaviors.includes(FieldBehavior.OUTPUT_ONLY)) expect(behaviors, field.name).toHaveLength(1);
      if (behaviors.includes(FieldBehavior.IDENTIFIER)) expect(field.name).toBe("id");
      if (field.name === "create_time") expect(behaviors).toEqual([FieldBehavior.OUTPUT_ONLY]);
    }
  });
});

describe.each(methods)("$name", ({ name, method }) => {
  test("has a policy, and says truly whether it has side effects", () => {
    expect(methodPolicy(method)).toBeDefined();
    const { NO_SIDE_EFFECTS, IDEMPOTENCY_UNKNOWN } = MethodOptions_IdempotencyLevel;
    expect(method.idempotency).toBe(isRead(name) ? NO_SIDE_EFFECTS : IDEMPOTENCY_UNKNOWN);
  });

  test("has messages of its own", () => {
    expect([method.input.name, method.output.name]).toEqual([`${name}Request`, `${name}Response`]);
  });

  test("has the fields that its verb asks for, in request and answer", () => {
    expect(fieldsOf(method.input)).toEqual(expect.arrayContaining(requestFields(name)));
    const answer = answerField(name);
    if (answer !== undefined) expect(fieldsOf(method.output)[0]).toBe(answer);
    const requestId = method.input.fields.find((field) => field.name === "request_id");
    expect(requestId?.scalar ?? ScalarType.STRING).toBe(ScalarType.STRING);
    const declared = methodPolicy(method)?.requestId !== RequestId.UNSPECIFIED;
    expect(declared).toBe(requestId !== undefined);
    expect(isRead(name) && requestId !== undefined).toBe(false);
  });
});

test("the policies contradict neither themselves nor each other's messages", () => {
  expect(readPolicies(services).size).toBe(methods.length);
});

const lists = methods.filter(({ name }) => name.startsWith("List"));

test.each(lists)("$name is paged", ({ method }: { method: DescMethod }) => {
  const { field: request } = method.input;
  const { field: answer } = method.output;
  expect([request.pageSize?.scalar, request.pageToken?.scalar]).toEqual([
    ScalarType.INT32,
    ScalarType.STRING,
  ]);
  expect(answer.nextPageToken?.scalar).toBe(ScalarType.STRING);
  expect(method.output.fields[0]?.fieldKind).toBe("list");
});

const ORDER_CHANGE = ["id", "etag", "request_id"];

/** What contracts.md says of names and verbs. */
function requestFields(name: string): string[] {
  const [verb = "", ...rest] = name.split(/(?=[A-Z])/);
  const resource = rest.join("_").toLowerCase();
  const known: Record<string, string[]> = {
    CreateOrder: ["request_id", "order", "validate_only"],
    CancelOrder: ORDER_CHANGE,
    EndPromotion: ORDER_CHANGE,
    GetProduct: ["id", "sku", "show_deleted", "read_mask"],
    AdjustStock: ["product_id", "delta", "expected_quantity", "reason", "effective_time", "request_id"],
    RecordPurchase: ["purchase"],
    GetPurchaseStats: ["promotion_id", "product_id", "timeframe"],
    GetCatalogStats: [],
    GetMe: [],
    // A repeat would have to be given its secret again, which is not kept.
    CreateApiKey: ["api_key"],
    // It never changes.
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

/** The field that an answer begins with: the resource, in a field of its name. */
function answerField(name: string): string | undefined {
  const known: Record<string, string | undefined> = {
    AdjustStock: "product",
    DeleteCategory: undefined,
    DeleteReview: undefined,
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

/** The tables of contracts.md, word by word: other people's clients count on these names. */
const FIELDS: Record<string, string> = {
  Money: "currency_code, minor_units",
  Product:
    "id, sku, name, description, category_id, brand, price, stock_quantity, rating_average, rating_count, purchase_count, image_uri, attributes, etag, create_time, update_time, delete_time",
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

describe("a shop", () => {
  let shop: TestShop;
  beforeAll(async () => {
    shop = await startShop();
  });
  afterAll(() => shop.close());

  const creating = methods.flatMap(({ name, method }) => {
    const resource = method.input.fields.find(({ message }) => message?.typeName.startsWith("cartwright."));
    return /^(Create|Record)/.test(name) && resource?.message
      ? [{ name, method, resource, message: resource.message }]
      : [];
  });

  test.each(creating)(
    "rejects an empty resource in $name with the fields that it requires",
    async (creation) => {
      const { method, resource, message } = creation;
      const response = await fetch(`${shop.url}/${method.parent.typeName}/${method.name}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          [resource.jsonName]: {},
          ...(method.input.field.requestId && { requestId: randomUUID() }),
        }),
      });
      const text = await response.text();
      const fields = [...text.matchAll(/"field":"([^"]+)"/g)].map(([, field]) => field);
      expect(fields.sort()).toEqual(
        namesWith(message, FieldBehavior.REQUIRED)
          .map((name) => `${resource.name}.${name}`)
          .sort(),
      );
    },
  );

  test.each(methods)("has built $name", async ({ method }: { method: DescMethod }) => {
    // A stream has its messages in envelopes: here one, of the two bytes "{}".
    const streams = method.methodKind !== "unary";
    const response = await fetch(`${shop.url}/${method.parent.typeName}/${method.name}`, {
      method: "POST",
      headers: { "content-type": streams ? "application/connect+json" : "application/json" },
      body: streams ? "\0\0\0\0\u0002{}" : "{}",
    });
    const text = await response.text();
    // What is for people is for nobody while ACCESS is off.
    expect([200, 400, 403]).toContain(response.status);
    expect(text).not.toContain("unimplemented");
  });
});
