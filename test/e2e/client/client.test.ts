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
import { maxSilenceMs } from "../../../src/client/connection.ts";
import { methodPolicy } from "../../../src/rpc/policy/method-policy.ts";
import { listen, startFlakyProxy } from "../../support/client/flaky-proxy.ts";
import { createProduct } from "../../support/client/product-fixture.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let road: Awaited<ReturnType<typeof startFlakyProxy>>;

beforeAll(async () => {
  shop = await startShop();
  road = await startFlakyProxy(shop.url);
});
beforeEach(() => road.goWrong());
afterAll(async () => {
  await road.close();
  await shop.close();
});

const ways: Record<string, ClientOptions["transport"]> = {
  "Connect over fetch": undefined,
  "gRPC-Web over fetch": createGrpcWebTransport,
  gRPC: createGrpcTransport,
  "Connect over HTTP/2": (options) => createConnectTransport({ ...options, httpVersion: "2" }),
};

/** @returns an address where nobody listens */
async function deadEnd(): Promise<string> {
  const server = createServer();
  const url = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return url;
}

describe.each(Object.entries(ways))("%s", (_, transport) => {
  test("lists, orders and tells of errors", async () => {
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

  test("a shop that is not there is UNAVAILABLE, with a sentence that helps", async () => {
    const client = createClient({ baseUrl: await deadEnd(), transport, retries: 0 });
    const error = await client.catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.Unavailable, reason: "" });
    expect(error).toHaveProperty("message", expect.stringMatching(/connect ECONNREFUSED 127\.0\.0\.1/));
  });
});

describe("the token", () => {
  const headers = () => road.requests.map((sent) => sent.header("authorization"));

  test("goes with each call", async () => {
    await createClient({ baseUrl: road.url, token: "t-1" }).catalog.listBrands({});
    expect(headers()).toEqual(["Bearer t-1"]);
  });

  test("is asked for before each try", async () => {
    let count = 0;
    const token = async () => `t-${++count}`;
    road.goWrong("503");
    await createClient({ baseUrl: road.url, token }).catalog.listBrands({});
    expect(headers()).toEqual(["Bearer t-1", "Bearer t-2"]);
  });

  test.each([undefined, "", () => undefined])("%o: none is sent", async (token) => {
    await createClient({ baseUrl: road.url, token }).catalog.listBrands({});
    expect(headers()).toEqual([undefined]);
  });

  test("gives way to a call's own header", async () => {
    const { catalog } = createClient({ baseUrl: road.url, token: "t-1" });
    await catalog.listBrands({}, { headers: { Authorization: "Bearer mine" } });
    expect(headers()).toEqual(["Bearer mine"]);
  });

  test("is not waited for past the deadline", async () => {
    const { catalog } = createClient({ baseUrl: road.url, token: () => new Promise(() => {}) });
    const error = await catalog.listBrands({}, { timeoutMs: 100 }).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    expect(road.requests).toHaveLength(0);
  });

  test("goes with gRPC too", async () => {
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

describe("time", () => {
  test("a call ends at its deadline", async () => {
    road.goWrong("silence");
    const { catalog } = createClient({ baseUrl: road.url, timeoutMs: 150 });
    const error = await catalog.listBrands({}).catch(errorDetails);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    expect(road.requests.map((sent) => sent.header("connect-timeout-ms"))).toEqual(["150"]);
  });

  test("a read without a deadline carries no header that would cost browsers a preflight", async () => {
    await createClient({ baseUrl: road.url }).catalog.listBrands({});
    const [sent] = road.requests;
    for (const name of ["connect-timeout-ms", "connect-protocol-version", "content-type", "authorization"]) {
      expect(sent?.header(name), name).toBeUndefined();
    }
  });

  test("a shop that stays silent is not waited for without end", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      road.goWrong("silence");
      const result = createClient({ baseUrl: road.url }).catalog.listBrands({}).catch(errorDetails);
      while (road.requests.length === 0) await setImmediate();
      vi.advanceTimersByTime(maxSilenceMs);
      expect(await result).toMatchObject({ code: Code.DeadlineExceeded });
    } finally {
      vi.useRealTimers();
    }
  });

  test("every deadline of the contract is shorter than that", () => {
    const services = [CatalogService, OrderService, TrackerService, CustomerService];
    const methods = [...services, IdentityService, ReviewService].flatMap((service) => service.methods);
    for (const method of methods.filter(({ methodKind }) => methodKind === "unary")) {
      const seconds = Number(methodPolicy(method)?.deadline?.max?.seconds);
      expect(seconds * 1_000, method.name).toBeLessThan(maxSilenceMs);
    }
  });
});

test("reads go as GET and changes as POST, both binary", async () => {
  const { catalog, orders } = createClient({ baseUrl: road.url });
  await catalog.listProducts({ pageSize: 7 });
  await orders.createOrder({}).catch(() => {});
  expect(road.requests).toMatchObject([{ method: "GET" }, { method: "POST" }]);
  expect(road.requests[0]?.message(ListProductsRequestSchema).pageSize).toBe(7);
  expect(road.requests[1]?.header("content-type")).toBe("application/proto");
});

test("interceptors of the caller see each call once", async () => {
  const seen: string[] = [];
  const log: Interceptor = (next) => (request) => {
    seen.push(request.method.name);
    return next(request);
  };
  road.goWrong("503");
  await createClient({ baseUrl: road.url, interceptors: [log] }).catalog.listBrands({});
  expect(seen).toEqual(["ListBrands"]);
  expect(road.requests).toHaveLength(2);
});

test("a state that the client is too old to know stays what it is", async () => {
  const newer = createServer((_, response) => {
    const order = Object.assign(create(OrderSchema), { state: 99, allowedTransitions: [98] });
    const body = toBinary(GetOrderResponseSchema, create(GetOrderResponseSchema, { order }));
    response.writeHead(200, { "content-type": "application/proto" }).end(body);
  });
  const { orders } = createClient({ baseUrl: await listen(newer) });
  const { order } = await orders.getOrder({});
  expect(order).toMatchObject({ state: 99, allowedTransitions: [98] });
  newer.close();
});

test("pages are asked for one by one, as they are wanted", async () => {
  for (let count = 0; count < 5; count++) await createProduct(shop);
  const { catalog } = createClient({ baseUrl: road.url });
  const list = (pageToken: string) => catalog.listProducts({ pageSize: 2, orderBy: "name", pageToken });
  const ids = new Set<string>();
  for await (const { products } of pages(list)) for (const { id } of products) ids.add(id);
  const { totalSize } = await shop.catalog.listProducts({ total: 3 });
  expect(totalSize).toBeGreaterThanOrEqual(5);
  expect(ids.size).toBe(totalSize);

  road.goWrong();
  for await (const { products } of pages(list)) {
    expect(products).toHaveLength(2);
    break;
  }
  expect(road.requests).toHaveLength(1);
});
