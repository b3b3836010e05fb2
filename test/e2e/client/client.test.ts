import { createServer } from "node:http";
import { createServer as createHttp2Server, type IncomingHttpHeaders } from "node:http2";
import { setImmediate } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import {
  CatalogService,
  type ClientOptions,
  Code,
  CustomerService,
  createClient,
  errorDetails,
  GetOrderResponseSchema,
  IdentityService,
  type Interceptor,
  ListProductsRequestSchema,
  OrderSchema,
  OrderService,
  pages,
  ReviewService,
  TrackerService,
} from "../../../src/client/client.ts";
import { RESPONSE_TIMEOUT_MS } from "../../../src/client/connection-errors.ts";
import { methodPolicy } from "../../../src/rpc/policy/method-policy.ts";
import { listen, startFlakyProxy } from "../../support/client/flaky-proxy.ts";
import { createProduct } from "../../support/client/product-fixture.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let proxy: Awaited<ReturnType<typeof startFlakyProxy>>;

beforeAll(async () => {
  shop = await startShop();
  proxy = await startFlakyProxy(shop.url);
});
beforeEach(() => proxy.failNext());
afterAll(async () => {
  await proxy.close();
  await shop.close();
});

const transports: Record<string, ClientOptions["transport"]> = {
  "Connect over fetch": undefined,
  "gRPC-Web over fetch": createGrpcWebTransport,
  gRPC: createGrpcTransport,
  "Connect over HTTP/2": (options) => createConnectTransport({ ...options, httpVersion: "2" }),
};

/** Returns a URL on which no server listens. */
async function unusedUrl(): Promise<string> {
  const server = createServer();
  const url = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return url;
}

describe.each(Object.entries(transports))("%s", (_, transport) => {
  test("calls return responses, and errors with their google.rpc details", async () => {
    const client = createClient({ baseUrl: shop.url, transport });
    const productId = await createProduct(shop, 1n);
    const { products } = await client.catalog.listProducts({ inStockOnly: true, pageSize: 1 });
    expect(products).toHaveLength(1);
    const order = { items: [{ productId, quantity: 1n }] };
    const placed = await client.orders.createOrder({ order });
    expect(placed.order?.totalPrice).toMatchObject({ currencyCode: "EUR", minorUnits: 1999n });
    const soldOut = await client.orders.createOrder({ order }).catch(errorDetails);
    expect(soldOut).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "OUT_OF_STOCK",
      preconditions: [{ type: "STOCK" }],
    });
    const invalid = await client.orders.createOrder({ order: { items: [] } }).catch(errorDetails);
    expect(invalid).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      fieldViolations: [{ field: "order.items" }],
      retryDelayMs: undefined,
    });
    const stale = await client.catalog.deleteProduct({ id: productId, etag: "7" }).catch(errorDetails);
    expect(stale).toMatchObject({
      code: Code.Aborted,
      metadata: { current_etag: "1" },
      resource: { resourceType: "product", resourceName: productId },
    });
  });

  test("a stopped service is UNAVAILABLE, with the reason in the message", async () => {
    const client = createClient({ baseUrl: await unusedUrl(), transport, retries: 0 });
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable, reason: "" });
    expect(error).toHaveProperty("message", expect.stringMatching(/connect ECONNREFUSED 127\.0\.0\.1/));
  });
});

describe("the option `token`", () => {
  const headers = () => proxy.requests.map((sent) => sent.header("authorization"));

  test("a token is sent with each call", async () => {
    await createClient({ baseUrl: proxy.url, token: "t-1" }).catalog.listBrands({});
    expect(headers()).toEqual(["Bearer t-1"]);
  });

  test("a token function is called before each attempt", async () => {
    let count = 0;
    const token = async () => `t-${++count}`;
    proxy.failNext("503");
    await createClient({ baseUrl: proxy.url, token }).catalog.listBrands({});
    expect(headers()).toEqual(["Bearer t-1", "Bearer t-2"]);
  });

  test.each([undefined, "", () => undefined])("the token %o sends no header", async (token) => {
    await createClient({ baseUrl: proxy.url, token }).catalog.listBrands({});
    expect(headers()).toEqual([undefined]);
  });

  test("the header of a call takes precedence over the token", async () => {
    const { catalog } = createClient({ baseUrl: proxy.url, token: "t-1" });
    await catalog.listBrands({}, { headers: { Authorization: "Bearer own" } });
    expect(headers()).toEqual(["Bearer own"]);
  });

  test("a call ends at its deadline while a token function is pending", async () => {
    const { catalog } = createClient({ baseUrl: proxy.url, token: () => new Promise(() => {}) });
    const error = await catalog.listBrands({}, { timeoutMs: 100 }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    expect(proxy.requests).toHaveLength(0);
  });

  test("a token and the deadline are sent over gRPC too", async () => {
    const seen: IncomingHttpHeaders[] = [];
    const server = createHttp2Server((request, response) => {
      seen.push(request.headers);
      response.writeHead(200, { "content-type": "application/grpc", "grpc-status": "12" }).end();
    });
    const baseUrl = await listen(server);
    const client = createClient({ baseUrl, token: "t-1", timeoutMs: 2_000, transport: createGrpcTransport });
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unimplemented });
    expect(seen).toMatchObject([
      { authorization: "Bearer t-1", "content-type": "application/grpc+proto", "grpc-timeout": "2000m" },
    ]);
    server.close();
  });
});

describe("deadlines", () => {
  test("a call ends at its deadline", async () => {
    proxy.failNext("silence");
    const { catalog } = createClient({ baseUrl: proxy.url, timeoutMs: 150 });
    const error = await catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    expect(proxy.requests.map((sent) => sent.header("connect-timeout-ms"))).toEqual(["150"]);
  });

  test("a read without a deadline has no header that needs a preflight in browsers", async () => {
    await createClient({ baseUrl: proxy.url }).catalog.listBrands({});
    const [sent] = proxy.requests;
    for (const name of ["connect-timeout-ms", "connect-protocol-version", "content-type", "authorization"]) {
      expect(sent?.header(name), name).toBeUndefined();
    }
  });

  test("a call without a deadline ends when the service does not respond", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      proxy.failNext("silence");
      const result = createClient({ baseUrl: proxy.url }).catalog.listBrands({}).catch(errorDetails);
      while (proxy.requests.length === 0) await setImmediate();
      vi.advanceTimersByTime(RESPONSE_TIMEOUT_MS);
      expect(await result).toMatchObject({ code: Code.DeadlineExceeded });
    } finally {
      vi.useRealTimers();
    }
  });

  test("every deadline of the contract is shorter than the response timeout", () => {
    const services = [CatalogService, OrderService, TrackerService, CustomerService];
    const methods = [...services, IdentityService, ReviewService].flatMap((service) => service.methods);
    for (const method of methods.filter(({ methodKind }) => methodKind === "unary")) {
      const seconds = Number(methodPolicy(method)?.deadline?.max?.seconds);
      expect(seconds * 1_000, method.name).toBeLessThan(RESPONSE_TIMEOUT_MS);
    }
  });
});

test("reads are sent by GET and changes by POST, both in binary form", async () => {
  const { catalog, orders } = createClient({ baseUrl: proxy.url });
  await catalog.listProducts({ pageSize: 7 });
  await orders.createOrder({}).catch(() => {});
  expect(proxy.requests).toMatchObject([{ method: "GET" }, { method: "POST" }]);
  expect(proxy.requests[0]?.message(ListProductsRequestSchema).pageSize).toBe(7);
  expect(proxy.requests[1]?.header("content-type")).toBe("application/proto");
});

test("interceptors of the caller run once for each call, not once for each attempt", async () => {
  const seen: string[] = [];
  const log: Interceptor = (next) => (request) => {
    seen.push(request.method.name);
    return next(request);
  };
  proxy.failNext("503");
  await createClient({ baseUrl: proxy.url, interceptors: [log] }).catalog.listBrands({});
  expect(seen).toEqual(["ListBrands"]);
  expect(proxy.requests).toHaveLength(2);
});

test("enum values that are newer than the client are kept", async () => {
  const newerService = createServer((_, response) => {
    const order = Object.assign(create(OrderSchema), { state: 99, allowedTransitions: [98] });
    const body = toBinary(GetOrderResponseSchema, create(GetOrderResponseSchema, { order }));
    response.writeHead(200, { "content-type": "application/proto" }).end(body);
  });
  const { orders } = createClient({ baseUrl: await listen(newerService) });
  const { order } = await orders.getOrder({});
  expect(order).toMatchObject({ state: 99, allowedTransitions: [98] });
  newerService.close();
});

test("pages are requested one at a time when they are needed", async () => {
  for (let count = 0; count < 5; count++) await createProduct(shop);
  const { catalog } = createClient({ baseUrl: proxy.url });
  const list = (pageToken: string) => catalog.listProducts({ pageSize: 2, orderBy: "name", pageToken });
  const ids = new Set<string>();
  for await (const { products } of pages(list)) for (const { id } of products) ids.add(id);
  const { totalSize } = await shop.catalog.listProducts({ total: 3 });
  expect(totalSize).toBeGreaterThanOrEqual(5);
  expect(ids.size).toBe(totalSize);

  proxy.failNext();
  for await (const { products } of pages(list)) {
    expect(products).toHaveLength(2);
    break;
  }
  expect(proxy.requests).toHaveLength(1);
});
