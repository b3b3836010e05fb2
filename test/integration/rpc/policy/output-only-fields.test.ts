import { randomUUID } from "node:crypto";
import {
  clone,
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescMethodClientStreaming,
  type DescMethodUnary,
  type DescService,
  fromJson,
  type JsonObject,
  type Message,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { MoneySchema } from "../../../../gen/cartwright/type/v1/money_pb.ts";
import { FieldBehavior } from "../../../../gen/google/api/field_behavior_pb.ts";
import { hasBehavior, readServices } from "../../../support/contract/contract.ts";
import { withPolicy } from "../../../support/rpc/altered-contract.ts";
import { transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

const services = await readServices();
const methods = services.flatMap((service) => service.methods);
const nameOf = (method: DescMethod) => `${method.parent.name}/${method.name}`;

const id = randomUUID();
const money = { currencyCode: "EUR", minorUnits: "1" };
const product = { sku: "tea", name: "Tea", categoryId: id, price: money };
const purchase = { eventId: id, userId: "u", promotionId: id, productId: id, amount: money };

/** A valid request, in JSON, of each method whose requests have output-only fields. */
const requests: Readonly<Record<string, JsonObject>> = {
  "CatalogService/CreateProduct": { product },
  "CatalogService/UpdateProduct": { product: { id, name: "Tea" } },
  "CatalogService/CreateCategory": { category: { slug: "tea", name: "Tea" } },
  "CatalogService/UpdateCategory": { category: { id, name: "Tea" } },
  "CustomerService/CreateCustomer": { customer: { email: "a@example.com", name: "Ada" } },
  "CustomerService/UpdateCustomer": { customer: { id, name: "Ada" } },
  "IdentityService/CreateApiKey": { apiKey: { serviceAccount: "warehouse", scopes: ["SCOPE_ORDERS_READ"] } },
  "OrderService/CreateOrder": { requestId: id, order: { items: [{ productId: id, quantity: "2" }] } },
  "OrderService/QuoteOrder": { items: [{ productId: id, quantity: "2" }] },
  "OrderService/UpdateFulfillment": { fulfillment: { id, orderId: id, carrier: "DHL" } },
  "PaymentService/CreatePayment": { requestId: id, payment: { orderId: id } },
  "ZoneService/CreateShippingZone": { shippingZone: { name: "EU", countryCodes: ["DE"] } },
  "ZoneService/UpdateShippingZone": { shippingZone: { id, name: "EU" } },
  "ZoneService/CreateTaxZone": { taxZone: { countryCode: "DE" } },
  "ZoneService/UpdateTaxZone": { taxZone: { id, region: "BY" } },
  "ReviewService/CreateReview": { review: { productId: id, rating: 5 } },
  "TrackerService/CreatePromotion": { promotion: { name: "Sale" } },
  "TrackerService/RecordPurchase": { purchase },
  "TrackerService/BatchRecordPurchases": { purchases: [purchase, purchase] },
};

const isOutputOnly = (field: DescField) => hasBehavior(field, FieldBehavior.OUTPUT_ONLY);

function containsOutputOnly(message: DescMessage): boolean {
  return message.fields.some(
    (field) => isOutputOnly(field) || (field.message !== undefined && containsOutputOnly(field.message)),
  );
}

/** Sets all output-only fields to values that validation would reject. */
function setOutputOnlyFields(message: ReflectMessage): void {
  for (const field of message.fields) {
    if (isOutputOnly(field)) setInvalid(message, field);
    else if (field.fieldKind === "message" && message.isSet(field)) {
      setOutputOnlyFields(message.get(field));
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of message.get(field)) if (isReflected(item)) setOutputOnlyFields(item);
    }
  }
}

function setInvalid(message: ReflectMessage, field: DescField): void {
  if (field.fieldKind === "list" && field.listKind === "enum")
    message.get(field).add(invalidEnum(field.enum));
  else if (field.fieldKind === "list" && field.listKind === "message")
    message.get(field).add(reflect(field.message, create(field.message)));
  else if (field.fieldKind === "enum") message.set(field, invalidEnum(field.enum));
  else if (field.scalar === ScalarType.BOOL) message.set(field, true);
  else if (field.scalar === ScalarType.INT32) message.set(field, -1);
  else if (field.scalar === ScalarType.STRING) message.set(field, "\0".repeat(100));
  else if (field.scalar === ScalarType.INT64) message.set(field, -1n);
  else if (field.scalar === ScalarType.DOUBLE) message.set(field, -1);
  else if (field.message?.typeName === TimestampSchema.typeName) {
    message.set(field, reflect(TimestampSchema, create(TimestampSchema, { seconds: 1n })));
  } else if (field.message?.typeName === MoneySchema.typeName) {
    message.set(field, reflect(MoneySchema, create(MoneySchema, { currencyCode: "?", minorUnits: -1n })));
  } else if (field.message !== undefined) {
    message.set(field, reflect(field.message, create(field.message)));
  } else throw new Error(`${field} has a type that this test does not support`);
}

const invalidEnum = ({ values }: DescEnum) => values.length + 90;

function isReflected(value: unknown): value is ReflectMessage {
  return typeof value === "object" && value !== null && "isSet" in value;
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

function isClientStream(method: DescMethod): method is DescMethodClientStreaming {
  return method.methodKind === "client_streaming";
}

/** Starts a server that records the requests that reach the handler of a method. */
async function startRecording(method: DescMethod): Promise<{ url: string; received: Message[] }> {
  const received: Message[] = [];
  const implementation: Partial<ServiceImpl<DescService>> = {};
  Reflect.set(implementation, method.localName, async (request: Message | AsyncIterable<Message>) => {
    if (Symbol.asyncIterator in request) for await (const part of request) received.push(part);
    else received.push(request);
    return {};
  });
  const { url } = await startRpcServer({
    services: [method.parent],
    routes: (router) => router.service(method.parent, implementation),
  });
  return { url, received };
}

/** Returns a valid request, and the same one with invalid values in all output-only fields. */
function requestsOf(method: DescMethod): { valid: Message; sent: Message } {
  const valid = fromJson(method.input, requests[nameOf(method)] ?? {});
  const sent = clone(method.input, valid);
  setOutputOnlyFields(reflect(method.input, sent));
  expect(sent).not.toEqual(valid);
  return { valid, sent };
}

const ignoring = methods.filter(({ input }) => containsOutputOnly(input));

test("every method with output-only fields in its request is tested here", () => {
  expect(Object.keys(requests).sort()).toEqual(ignoring.map(nameOf).sort());
});

describe.each(ignoring.map((method) => ({ name: nameOf(method), method })))(
  "output-only fields in a request of $name are ignored",
  ({ method }) => {
    test("output-only fields in a request are ignored over gRPC, by the fast path", async () => {
      const { url, received } = await startRecording(method);
      const { valid, sent } = requestsOf(method);
      if (!isUnary(method)) throw new Error(`${method.name} is a stream`);
      await transports(url)["gRPC over HTTP/2"].unary(method, undefined, undefined, undefined, sent);
      expect(received).toEqual([valid]);
    });

    test.each([
      ["the fast path", "application/json"],
      ["Connect", "application/json; charset=utf-8"],
    ])("output-only fields in a request are ignored over JSON, by %s", async (_, contentType) => {
      const { url, received } = await startRecording(method);
      const { valid, sent } = requestsOf(method);
      const response = await fetch(`${url}/${method.parent.typeName}/${method.name}`, {
        method: "POST",
        headers: { "content-type": contentType },
        body: JSON.stringify(toJson(method.input, sent)),
      });
      expect([response.status, received]).toEqual([200, [valid]]);
    });
  },
);

test("output-only fields in each message of a stream are ignored", async () => {
  const service = withPolicy(TrackerService, "RecordPurchase", (policy, method) => {
    method.clientStreaming = true;
    return policy;
  });
  const method: DescMethod = service.method.recordPurchase;
  const { url, received } = await startRecording(method);
  const { valid, sent } = requestsOf(method);
  async function* messages() {
    yield sent;
    yield sent;
  }
  if (!isClientStream(method)) throw new Error("the method does not stream");
  const transport = transports(url)["gRPC over HTTP/2"];
  const response = await transport.stream(method, undefined, undefined, undefined, messages());
  for await (const _ of response.message);
  expect(received).toEqual([valid, valid]);
});

describe("an update_mask", () => {
  let shop: TestShop;
  let productId: string;
  beforeAll(async () => {
    shop = await startShop();
    const { category } = await shop.catalog.createCategory({ category: { slug: "tea", name: "Tea" } });
    const created = await shop.catalog.createProduct({
      product: {
        sku: "tea",
        name: "Tea",
        categoryId: category?.id ?? "",
        price: { currencyCode: "EUR", minorUnits: 1n },
        // Ignored: the server assigns ids.
        id,
      },
    });
    productId = created.product?.id ?? "";
    expect(productId).not.toBe(id);
  });
  afterAll(() => shop.close());

  const update = (paths: string[]) =>
    shop.catalog.updateProduct({
      product: { id: productId, name: "Green tea", brand: "Other", ratingCount: 9n, purchaseCount: 9n },
      updateMask: { paths },
    });

  test("an update_mask can name output-only fields and fields within them, which stay as they are", async () => {
    const paths = ["rating_count", "name", "purchase_count", "create_time.seconds"];
    const { product } = await update(paths);
    expect(product).toMatchObject({ name: "Green tea", brand: "", ratingCount: 0n, purchaseCount: 0n });
  });

  test("an update_mask that names output-only fields only is rejected and does not select all fields", async () => {
    await expect(update(["rating_count"])).rejects.toThrow("update_mask: names output-only fields only");
    const { product } = await shop.catalog.getProduct({ key: { case: "id", value: productId } });
    expect(product?.brand).toBe("");
  });

  test("an update_mask is rejected for fields that are neither output-only nor changeable", async () => {
    await expect(update(["name", "stock_quantity"])).rejects.toThrow("stock_quantity");
    await expect(update(["name", "rating"])).rejects.toThrow("rating");
  });
});
