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
let road: Awaited<ReturnType<typeof startFlakyProxy>>;
let client: ShopClient;
let productId: string;

beforeAll(async () => {
  shop = await startShop();
  road = await startFlakyProxy(shop.url);
  client = createClient({ baseUrl: road.url });
});
beforeEach(async () => {
  road.goWrong();
  productId = await createProduct(shop);
});
afterAll(async () => {
  await road.close();
  await shop.close();
});

const away = (retryMs = 0): Fault => ({ code: "unavailable", status: 503, retryMs });
const order = (quantity = 1n) => ({ items: [{ productId, quantity }] });
const units = async () =>
  (await shop.catalog.getProduct({ key: { case: "id", value: productId } })).product?.stockQuantity;

describe("repeats what is safe to repeat", () => {
  test("reads", async () => {
    road.goWrong("503", "reset before", "reset after");
    const { product } = await client.catalog.getProduct({ key: { case: "id", value: productId } });
    expect(product?.id).toBe(productId);
    expect(road.requests.map(({ method }) => method)).toEqual(["GET", "GET", "GET", "GET"]);
  });

  test("an order whose answers get lost: it is placed once", async () => {
    road.goWrong("reset after", "reset before", "reset after");
    const { order: placed, replayed } = await client.orders.createOrder({ order: order(2n) });
    expect(replayed).toBe(true);
    const ids = road.requests.map((sent) => sent.message(CreateOrderRequestSchema).requestId);
    expect(ids).toHaveLength(4);
    expect(new Set(ids).size).toBe(1);
    const [{ count } = { count: "" }] = await shop.database.query<{ count: string }>(
      "select count(*) from order_item where product_id = $1",
      [productId],
    );
    expect(count).toBe("1");
    expect(await units()).toBe(8n);
    expect(placed?.items[0]?.quantity).toBe(2n);
  });

  test("a change that has a request_id in its contract", async () => {
    road.goWrong("reset after");
    const { product } = await client.catalog.updateProduct({
      product: { id: productId, etag: "1", name: "Saw" },
    });
    expect(product).toMatchObject({ name: "Saw", etag: "2" });
    const [first, second] = road.requests.map((sent) => sent.message(UpdateProductRequestSchema).requestId);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).toBe(first);
  });

  test("purchases: each event is counted once", async () => {
    const { promotion } = await shop.tracker.createPromotion({ promotion: { name: "Sale" } });
    const promotionId = promotion?.id ?? "";
    const amount = { currencyCode: "EUR", minorUnits: 500n };
    const purchase = () => ({ eventId: randomUUID(), userId: "u", promotionId, productId, amount });
    road.goWrong("reset after");
    expect(await client.tracker.recordPurchase({ purchase: purchase() })).toMatchObject({ duplicate: true });
    road.goWrong("reset after");
    const { duplicateCount } = await client.tracker.batchRecordPurchases({
      purchases: [purchase(), purchase()],
    });
    expect(duplicateCount).toBe(2);
    const { totalCount } = await shop.tracker.getPurchaseStats({ promotionId });
    expect(totalCount).toBe(3n);
  });
});

describe("the request_id", () => {
  test("of the caller is kept", async () => {
    const requestId = randomUUID();
    await client.orders.createOrder({ requestId, order: order() });
    expect(road.requests[0]?.message(CreateOrderRequestSchema).requestId).toBe(requestId);
  });

  test("is a new one for each call, even with the same message", async () => {
    const message = create(CreateOrderRequestSchema, { order: order() });
    const first = await client.orders.createOrder(message);
    const second = await client.orders.createOrder(message);
    expect(message.requestId).toBe("");
    expect(second.order?.id).not.toBe(first.order?.id);
    expect(await units()).toBe(8n);
  });

  test("is filled in without retries too", async () => {
    const calm = createClient({ baseUrl: road.url, retries: 0 });
    const { order: placed } = await calm.orders.createOrder({ order: order() });
    expect(placed?.id).toBeDefined();
  });
});

describe("does not repeat", () => {
  test.each<Fault>(["503", "reset before", "reset after"])("what could be done twice: %s", async (fault) => {
    road.goWrong(fault);
    const error = await client.catalog.deleteProduct({ id: productId }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(road.requests).toHaveLength(1);
  });

  test.each([
    ["resource_exhausted", 429, Code.ResourceExhausted],
    ["aborted", 409, Code.Aborted],
    ["internal", 500, Code.Internal],
    ["deadline_exceeded", 504, Code.DeadlineExceeded],
  ])("what is not UNAVAILABLE: %s", async (code, status, expected) => {
    road.goWrong({ code, status, retryMs: 10 });
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: expected, retryDelayMs: 10 });
    expect(road.requests).toHaveLength(1);
  });

  test.each([0, 2])("more often than it may: %i retries", async (retries) => {
    road.goWrong("503", "503", "503", "503", "503");
    const { catalog } = createClient({ baseUrl: road.url, retries });
    expect(await catalog.listBrands({}).catch(errorDetails)).toMatchObject({ code: Code.Unavailable });
    expect(road.requests).toHaveLength(1 + retries);
  });
});

describe("waits", () => {
  test("as long as the shop asks for", async () => {
    road.goWrong(away(400));
    const startedAt = performance.now();
    await client.catalog.listBrands({});
    const elapsedMs = performance.now() - startedAt;
    expect(elapsedMs).toBeGreaterThanOrEqual(395);
    expect(elapsedMs).toBeLessThan(4_000);
  });

  test("not at all when that is too long: the caller decides", async () => {
    road.goWrong(away(60_000));
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable, retryDelayMs: 60_000 });
    expect(road.requests).toHaveLength(1);
  });

  test("not past the deadline", async () => {
    road.goWrong(away(5_000));
    const startedAt = performance.now();
    const error = await client.catalog.listBrands({}, { timeoutMs: 200 }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    expect(performance.now() - startedAt).toBeLessThan(4_000);
    expect(road.requests).toHaveLength(1);
  });

  test("not for a caller who leaves", async () => {
    road.goWrong(away(5_000));
    const caller = new AbortController();
    setTimeout(() => caller.abort(), 100);
    const startedAt = performance.now();
    const error = await client.catalog.listBrands({}, { signal: caller.signal }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Canceled });
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  });
});

describe("over gRPC", () => {
  test("repeats an order through connections that break", async () => {
    const wire = await startFlakyTcpProxy(shop.url, 2);
    onTestFinished(wire.close);
    const { orders } = createClient({ baseUrl: wire.url, transport: createGrpcTransport });
    const { order: placed } = await orders.createOrder({ order: order(3n) });
    expect(placed?.items[0]?.quantity).toBe(3n);
    expect(await units()).toBe(7n);
    expect(wire.connections()).toBe(3);
  });

  test("does not repeat what could be done twice", async () => {
    const wire = await startFlakyTcpProxy(shop.url, 2);
    onTestFinished(wire.close);
    const { catalog } = createClient({ baseUrl: wire.url, transport: createGrpcTransport });
    const error = await catalog.deleteProduct({ id: productId }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(wire.connections()).toBe(1);
  });
});
