import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "../../../../gen/google/rpc/error_details_pb.ts";
import { ServerReflection } from "../../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { openRateLimiter, startRateLimitedServer } from "../../../support/rpc/rate-limited-server.ts";
import { connectHttp2, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import {
  callGrpcJs,
  getProductPath,
  grpcJs,
  methodUrl,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct, getCatalogStats, batchGetProducts } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;

const HOUR_SECONDS = 3_600;
/** A window counts in 64 buckets, and what was spent in one is given back when all of it has left the window. */
const BUCKET_SECONDS = HOUR_SECONDS / 64;
/** The longest that a test may take. */
const TEST_SECONDS = 120;

describe.each(transportNames)("%s", (name) => {
  test("a call states what is left of the budget, and then fails with RESOURCE_EXHAUSTED and when to retry", async () => {
    const { url } = await startRateLimitedServer({ READ: 2 });
    const client = createClient(CatalogService, transports(url)[name]);
    const left: (string | null)[] = [];
    const onHeader = (headers: Headers) => {
      left.push(headers.get("ratelimit-remaining"));
      expect(headers.get("ratelimit-limit")).toBe("2");
      expect(Number(headers.get("ratelimit-reset"))).toBeGreaterThanOrEqual(HOUR_SECONDS);
      expect(Number(headers.get("ratelimit-reset"))).toBeLessThanOrEqual(HOUR_SECONDS + BUCKET_SECONDS + 1);
      expect(headers.has("retry-after")).toBe(false);
    };
    await client.getProduct({ key }, { onHeader });
    await client.getProduct({ key }, { onHeader });
    expect(left).toEqual(["1", "0"]);
    const error = await client.getProduct({ key }).then(
      () => expect.fail("it passed"),
      (reason: unknown) => ConnectError.from(reason),
    );
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({
      reason: "RATE_LIMITED",
      domain: "cartwright",
      metadata: { class: "READ", limit: "2", window_ms: "3600000" },
    });
    expect(error.findDetails(QuotaFailureSchema)[0]?.violations).toMatchObject([{ subject: "READ/address" }]);
    const seconds = Number(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds);
    expect(seconds).toBeGreaterThanOrEqual(HOUR_SECONDS - TEST_SECONDS);
    expect(seconds).toBeLessThanOrEqual(HOUR_SECONDS + BUCKET_SECONDS);
    expect(error.metadata.get("ratelimit-remaining")).toBe("0");
    expect(Number(error.metadata.get("retry-after"))).toBeGreaterThanOrEqual(seconds);
    expect(error.rawMessage).toMatch(/^Rate limit exceeded: 2 reads an hour\. Retry in \d+ s\.$/);
  });
});

test("a call over the limit gets the HTTP status 429, Retry-After and no-store", async () => {
  const { url } = await startRateLimitedServer({ READ: 1 });
  await post(url, getProduct, { sku: "A" });
  const response = await post(url, getProduct, { sku: "A" });
  expect(response.status).toBe(429);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(await response.json()).toMatchObject({ code: "resource_exhausted" });
  const query = new URLSearchParams({ encoding: "json", message: '{"sku":"A"}' });
  const got = await fetch(`${methodUrl(url, getProduct)}?${query}`);
  expect([got.status, got.headers.get("cache-control")]).toEqual([429, "no-store"]);
});

test("a call over the limit by @grpc/grpc-js is RESOURCE_EXHAUSTED", async () => {
  const { port } = await startRateLimitedServer({ READ: 1 });
  const client = grpcJs(port);
  await callGrpcJs(client, getProduct, { key });
  await expect(callGrpcJs(client, getProduct, { key })).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
  });
});

test("each call costs what its policy says", async () => {
  const { url } = await startRateLimitedServer(
    { READ: 100 },
    { catalog: { getCatalogStats: () => ({}), batchGetProducts: () => ({}) } },
  );
  const remaining = async (response: Promise<Response>) =>
    (await response).headers.get("ratelimit-remaining");
  expect(await remaining(post(url, getProduct, { sku: "A" }))).toBe("99");
  expect(await remaining(post(url, getCatalogStats, {}))).toBe("94");
  expect(await remaining(post(url, batchGetProducts, { ids: [] }))).toBe("92");
});

test("a call that is rejected for its content is charged", async () => {
  const { url } = await startRateLimitedServer({ READ: 100 });
  const response = await post(url, getProduct, "{");
  expect([response.status, response.headers.get("ratelimit-remaining")]).toEqual([400, "99"]);
});

test("a call over the limit is rejected before its body arrives", async () => {
  const { url, port } = await startRateLimitedServer({ READ: 1 });
  await post(url, getProduct, { sku: "A" });
  const call = openGrpc(connectHttp2(url), getProductPath, { "content-length": "1000" });
  expect(await grpcStatus(call)).toBe(String(Code.ResourceExhausted));
  const headers = { "content-type": "application/json", "content-length": "1000" };
  const request = httpRequest({ port, path: getProductPath, method: "POST", headers });
  request.on("error", () => {});
  request.flushHeaders();
  const [response] = await once(request, "response");
  expect(response.statusCode).toBe(429);
  request.destroy();
});

test("without rate limits no header states them", async () => {
  const { url } = await startRpcServer();
  const { headers } = await post(url, getProduct, { sku: "A" });
  expect([...headers.keys()].filter((name) => name.startsWith("ratelimit"))).toEqual([]);
});

test("a budget that is smaller than the cost of a call is rejected at start", async () => {
  await expect(openRateLimiter({ INGEST: 9 }, 10)).rejects.toThrow(/LIMIT_INGEST: a call may cost 100 units/);
  await expect(openRateLimiter({ INGEST: 10 }, 10)).resolves.toBeDefined();
});

test("reflection is charged for each request, not for the stream", async () => {
  const { url } = await startRateLimitedServer({ READ: 5 });
  const reflection = createClient(ServerReflection, transports(url)["gRPC over HTTP/2"]);
  const request = { messageRequest: { case: "listServices", value: "" } } as const;
  const responses = reflection.serverReflectionInfo(
    (async function* () {
      for (let count = 0; count < 10; count += 1) yield request;
    })(),
  );
  let received = 0;
  const error = await (async () => {
    for await (const _ of responses) received += 1;
  })().catch(ConnectError.from);
  expect([received, error?.code]).toEqual([5, Code.ResourceExhausted]);
});
