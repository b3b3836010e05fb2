import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { Health } from "../../../../gen/grpc/health/v1/health_pb.ts";
import { holdLists } from "../../../support/blocking-handler.ts";
import {
  callGrpcJs,
  connectHttp2,
  expectNoCrash,
  expectUp,
  type Fixture,
  getProductPath,
  grpcJs,
  grpcStatus,
  openGrpc,
  post,
  start,
  transportNames,
  transports,
} from "../../../support/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;

expectNoCrash();

/** A server with room for two calls, both of which are taken until `finish`. */
async function startFull(): Promise<Fixture & { finish(): Promise<void> }> {
  const lists = holdLists();
  const fixture = await start({ maxCalls: 2, catalog: lists.catalog });
  const client = createClient(CatalogService, createGrpcTransport({ baseUrl: fixture.url }));
  const calls = Promise.allSettled([client.listProducts({}), client.listProducts({})]);
  await expect.poll(lists.count).toBe(2);
  const finish = async () => {
    lists.letGo();
    await calls;
  };
  return { ...fixture, finish };
}

async function overloaded(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => expect.fail("it was answered"),
    (reason: unknown) => ConnectError.from(reason),
  );
  expect(error).toMatchObject({
    code: Code.Unavailable,
    rawMessage: "The service is overloaded. Retry in 1 s.",
  });
  expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: "OVERLOADED", domain: "cartwright" });
  expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBe(1n);
}

// A GET brings nothing but its address.
test.each(transportNames.filter((name) => name !== "Connect GET"))(
  "a call too many that brings much is turned away before it is read, by %s",
  async (name) => {
    const { url, finish } = await startFull();
    const client = createClient(CatalogService, transports(url)[name]);
    const value = "x".repeat(3 * 1024 * 1024);
    await overloaded(client.getProduct({ key: { case: "sku", value } }));
    await finish();
    await expectUp(url);
  },
);

describe.each(transportNames)("a call too many by %s", (name) => {
  test("is turned away at once, and there is room when another has ended", async () => {
    const { url, finish } = await startFull();
    const client = createClient(CatalogService, transports(url)[name]);
    for (let count = 0; count < 3; count += 1) await overloaded(client.getProduct({ key }));
    await finish();
    await expect
      .poll(() => client.getProduct({ key }).catch(ConnectError.from))
      .toMatchObject({ product: { sku: "A" } });
  });

  test("is turned away when it is a stream", async () => {
    const { url, finish } = await startFull();
    const client = createClient(CatalogService, transports(url)[name]);
    const rows = async function* () {
      yield {};
    };
    await overloaded(client.importProducts(rows()));
    await finish();
  });
});

test("a call too many by @grpc/grpc-js is turned away", async () => {
  const { port, finish } = await startFull();
  const call = callGrpcJs(grpcJs(port), getProduct, { key });
  await expect(call).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await finish();
});

test("over HTTP it is told the status 503 and when to come back", async () => {
  const { url, finish } = await startFull();
  const answer = await post(url, getProduct, { sku: "A" });
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await answer.json()).toMatchObject({ code: "unavailable" });
  await finish();
});

test("a call whose body never comes is turned away", async () => {
  const { url, finish } = await startFull();
  const call = openGrpc(connectHttp2(url), getProductPath, { "content-length": "1000" });
  expect(await grpcStatus(call)).toBe(String(Code.Unavailable));
  await finish();
});

test("probes are answered when there is no room for calls", async () => {
  const { url, finish } = await startFull();
  const health = createClient(Health, createGrpcTransport({ baseUrl: url }));
  expect(await health.check({})).toBeDefined();
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  await finish();
});

test("whoever leaves makes room", async () => {
  const { url, finish } = await startFull();
  await finish();
  const session = connectHttp2(url);
  for (let count = 0; count < 10; count += 1) {
    const call = openGrpc(session, getProductPath, { "content-length": "1000" });
    await new Promise((resolve) => setTimeout(resolve, 5));
    call.close();
  }
  await expectUp(url);
});

test("calls that are begun and not finished keep nobody out for longer than a second", async () => {
  const { url, finish } = await startFull();
  await finish();
  const session = connectHttp2(url);
  for (let count = 0; count < 2; count += 1) {
    openGrpc(session, getProductPath, { "content-length": "1000", "grpc-timeout": "9S" }).write("x");
  }
  const statuses: number[] = [];
  const ask = async () => {
    statuses.push((await post(url, getProduct, { sku: "A" })).status);
    return statuses.at(-1);
  };
  await expect.poll(ask, { timeout: 4_000 }).toBe(200);
  expect(statuses, "at first there is no room").toContain(503);
  session.destroy();
  await expectUp(url);
});

test("the log tells of it, and not of each", async () => {
  const { url, finish, lines } = await startFull();
  for (let count = 0; count < 20; count += 1) await post(url, getProduct, { sku: "A" });
  const told = lines.filter(({ message }) => message === "Calls rejected at the concurrency limit");
  expect(told.length).toBeGreaterThanOrEqual(1);
  expect(told.length).toBeLessThanOrEqual(2);
  await finish();
});
