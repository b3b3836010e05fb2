import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  Code,
  CreateOrderRequestSchema,
  createClient,
  errorDetails,
  type ShopClient,
  UpdateProductRequestSchema,
} from "../../../src/client/client.ts";
import { type Fault, startFlakyProxy, startFlakyTcpProxy } from "../../support/client/flaky-proxy.ts";
import { createProduct } from "../../support/client/product-fixture.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let proxy: Awaited<ReturnType<typeof startFlakyProxy>>;
let client: ShopClient;
let productId: string;

beforeAll(async () => {
  shop = await startShop();
  proxy = await startFlakyProxy(shop.url);
  client = createClient({ baseUrl: proxy.url });
});
beforeEach(async () => {
  proxy.failNext();
  productId = await createProduct(shop);
});
afterAll(async () => {
  await proxy.close();
  await shop.close();
});

const order = (quantity = 1n) => ({ items: [{ productId, quantity }] });
const stockQuantity = async () =>
  (await shop.catalog.getProduct({ key: { case: "id", value: productId } })).product?.stockQuantity;

describe("idempotent calls", () => {
  test("a read is retried", async () => {
    proxy.failNext("503", "reset before", "reset after");
    const { product } = await client.catalog.getProduct({ key: { case: "id", value: productId } });
    expect(product?.id).toBe(productId);
    expect(proxy.requests.map(({ method }) => method)).toEqual(["GET", "GET", "GET", "GET"]);
  });

  test("an order whose responses are lost is retried and placed once", async () => {
    proxy.failNext("reset after", "reset before", "reset after");
    const { order: placed, replayed } = await client.orders.createOrder({ order: order(2n) });
    expect(replayed).toBe(true);
    const ids = proxy.requests.map((sent) => sent.message(CreateOrderRequestSchema).requestId);
    expect(ids).toHaveLength(4);
    expect(new Set(ids).size).toBe(1);
    const [{ count } = { count: "" }] = await shop.database.query<{ count: string }>(
      "select count(*) from order_item where product_id = $1",
      [productId],
    );
    expect(count).toBe("1");
    expect(await stockQuantity()).toBe(8n);
    expect(placed?.items[0]?.quantity).toBe(2n);
  });

  test("a change with a request_id is retried with the same one", async () => {
    proxy.failNext("reset after");
    const { product } = await client.catalog.updateProduct({
      product: { id: productId, etag: "1", name: "Saw" },
    });
    expect(product).toMatchObject({ name: "Saw", etag: "2" });
    const [first, second] = proxy.requests.map((sent) => sent.message(UpdateProductRequestSchema).requestId);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).toBe(first);
  });

  test("purchases are retried, and each event is counted once", async () => {
    const { promotion } = await shop.tracker.createPromotion({ promotion: { name: "Sale" } });
    const promotionId = promotion?.id ?? "";
    const amount = { currencyCode: "EUR", minorUnits: 500n };
    const purchase = () => ({ eventId: randomUUID(), userId: "u", promotionId, productId, amount });
    proxy.failNext("reset after");
    expect(await client.tracker.recordPurchase({ purchase: purchase() })).toMatchObject({ duplicate: true });
    proxy.failNext("reset after");
    const { duplicateCount } = await client.tracker.batchRecordPurchases({
      purchases: [purchase(), purchase()],
    });
    expect(duplicateCount).toBe(2);
    const { totalCount } = await shop.tracker.getPurchaseStats({ promotionId });
    expect(totalCount).toBe(3n);
  });
});

describe("the request_id", () => {
  test("the request_id of the caller is sent", async () => {
    const requestId = randomUUID();
    await client.orders.createOrder({ requestId, order: order() });
    expect(proxy.requests[0]?.message(CreateOrderRequestSchema).requestId).toBe(requestId);
  });

  test("each call gets a new request_id, even with the same message", async () => {
    const message = create(CreateOrderRequestSchema, { order: order() });
    const first = await client.orders.createOrder(message);
    const second = await client.orders.createOrder(message);
    expect(message.requestId).toBe("");
    expect(second.order?.id).not.toBe(first.order?.id);
    expect(await stockQuantity()).toBe(8n);
  });

  test("a request_id is filled in without retries too", async () => {
    const withoutRetries = createClient({ baseUrl: proxy.url, retries: 0 });
    const { order: placed } = await withoutRetries.orders.createOrder({ order: order() });
    expect(placed?.id).toBeDefined();
  });
});

describe("calls that are not retried", () => {
  test.each<Fault>(["503", "reset before", "reset after"])(
    "a call that is not idempotent is not retried after the fault %s",
    async (fault) => {
      proxy.failNext(fault);
      const error = await client.catalog.deleteProduct({ id: productId }).catch(errorDetails);
      expect(error).toMatchObject({ code: Code.Unavailable });
      expect(proxy.requests).toHaveLength(1);
    },
  );

  test.each([
    ["resource_exhausted", 429, Code.ResourceExhausted],
    ["aborted", 409, Code.Aborted],
    ["internal", 500, Code.Internal],
    ["deadline_exceeded", 504, Code.DeadlineExceeded],
  ])("the error %s is not retried", async (code, status, expected) => {
    proxy.failNext({ code, status, retryMs: 10 });
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: expected, retryDelayMs: 10 });
    expect(proxy.requests).toHaveLength(1);
  });

  test.each([0, 2])("with the option %i, a call is retried at most that many times", async (retries) => {
    proxy.failNext("503", "503", "503", "503", "503");
    const { catalog } = createClient({ baseUrl: proxy.url, retries });
    expect(await catalog.listBrands({}).catch(errorDetails)).toMatchObject({ code: Code.Unavailable });
    expect(proxy.requests).toHaveLength(1 + retries);
  });
});

describe("over gRPC", () => {
  test("an order is retried over gRPC when its connections break", async () => {
    const tcpProxy = await startFlakyTcpProxy(shop.url, 2);
    onTestFinished(tcpProxy.close);
    const { orders } = createClient({ baseUrl: tcpProxy.url, transport: createGrpcTransport });
    const { order: placed } = await orders.createOrder({ order: order(3n) });
    expect(placed?.items[0]?.quantity).toBe(3n);
    expect(await stockQuantity()).toBe(7n);
    expect(tcpProxy.connections()).toBe(3);
  });

  test("a call that is not idempotent is not retried over gRPC", async () => {
    const tcpProxy = await startFlakyTcpProxy(shop.url, 2);
    onTestFinished(tcpProxy.close);
    const { catalog } = createClient({ baseUrl: tcpProxy.url, transport: createGrpcTransport });
    const error = await catalog.deleteProduct({ id: productId }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(tcpProxy.connections()).toBe(1);
  });
});
