import { once } from "node:events";
import { request } from "node:http";
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
import { openLimits, startLimited } from "../../../support/limited-server.ts";
import {
  callGrpcJs,
  connectHttp2,
  getProductPath,
  grpcJs,
  grpcStatus,
  openGrpc,
  pathTo,
  post,
  start,
  transportNames,
  transports,
} from "../../../support/rpc-server.ts";

const { getProduct, getCatalogStats, batchGetProducts } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;

describe.each(transportNames)("%s", (name) => {
  test("tells what is left, and over it RESOURCE_EXHAUSTED with all that it takes to come back in time", async () => {
    const { url } = await startLimited({ READ: 2 });
    const client = createClient(CatalogService, transports(url)[name]);
    const left: (string | null)[] = [];
    const onHeader = (headers: Headers) => {
      left.push(headers.get("ratelimit-remaining"));
      expect(headers.get("ratelimit-limit")).toBe("2");
      expect(Number(headers.get("ratelimit-reset"))).toBeGreaterThanOrEqual(59);
      expect(Number(headers.get("ratelimit-reset"))).toBeLessThanOrEqual(62);
      expect(headers.has("retry-after")).toBe(false);
    };
    await client.getProduct({ key }, { onHeader });
    await client.getProduct({ key }, { onHeader });
    expect(left).toEqual(["1", "0"]);
    const error = await client.getProduct({ key }).catch((reason: unknown) => ConnectError.from(reason));
    if (!(error instanceof ConnectError)) throw new Error("it passed");
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({
      reason: "RATE_LIMITED",
      domain: "cartwright",
      metadata: { class: "READ", limit: "2", window_ms: "60000" },
    });
    expect(error.findDetails(QuotaFailureSchema)[0]?.violations).toMatchObject([{ subject: "READ/address" }]);
    const seconds = Number(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds);
    expect(seconds).toBeGreaterThanOrEqual(58);
    expect(seconds).toBeLessThanOrEqual(61);
    expect(error.metadata.get("ratelimit-remaining")).toBe("0");
    expect(Number(error.metadata.get("retry-after"))).toBeGreaterThanOrEqual(seconds);
    expect(error.rawMessage).toMatch(/^Rate limit exceeded: 2 reads a minute\. Retry in \d+ s\.$/);
  });
});

test("over it, Connect's status is 429, with Retry-After, and no cache outside may keep it", async () => {
  const { url } = await startLimited({ READ: 1 });
  await post(url, getProduct, { sku: "A" });
  const answer = await post(url, getProduct, { sku: "A" });
  expect(answer.status).toBe(429);
  expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(await answer.json()).toMatchObject({ code: "resource_exhausted" });
  const query = new URLSearchParams({ encoding: "json", message: '{"sku":"A"}' });
  const got = await fetch(`${pathTo(url, getProduct)}?${query}`);
  expect([got.status, got.headers.get("cache-control")]).toEqual([429, "no-store"]);
});

test("@grpc/grpc-js is told too", async () => {
  const { port } = await startLimited({ READ: 1 });
  const client = grpcJs(port);
  await callGrpcJs(client, getProduct, { key });
  const error: unknown = await callGrpcJs(client, getProduct, { key }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
});

test("each call costs what the contract says", async () => {
  const { url } = await startLimited(
    { READ: 100 },
    { catalog: { getCatalogStats: () => ({}), batchGetProducts: () => ({}) } },
  );
  const remaining = async (answer: Promise<Response>) => (await answer).headers.get("ratelimit-remaining");
  expect(await remaining(post(url, getProduct, { sku: "A" }))).toBe("99");
  expect(await remaining(post(url, getCatalogStats, {}))).toBe("94");
  expect(await remaining(post(url, batchGetProducts, { ids: [] }))).toBe("92");
});

test("a call that is refused for what it says has cost all the same", async () => {
  const { url } = await startLimited({ READ: 100 });
  const answer = await post(url, getProduct, "{");
  expect([answer.status, answer.headers.get("ratelimit-remaining")]).toEqual([400, "99"]);
});

test("who is over the limit is told so before anything of the body has come", async () => {
  const { url, port } = await startLimited({ READ: 1 });
  await post(url, getProduct, { sku: "A" });
  const call = openGrpc(connectHttp2(url), getProductPath, { "content-length": "1000" });
  expect(await grpcStatus(call)).toBe(String(Code.ResourceExhausted));
  const headers = { "content-type": "application/json", "content-length": "1000" };
  const sent = request({ port, path: getProductPath, method: "POST", headers });
  sent.on("error", () => {});
  sent.flushHeaders();
  const [answer] = await once(sent, "response");
  expect(answer.statusCode).toBe(429);
  sent.destroy();
});

test("without limits nothing is said of them", async () => {
  const { url } = await start();
  const { headers } = await post(url, getProduct, { sku: "A" });
  expect([...headers.keys()].filter((name) => name.startsWith("ratelimit"))).toEqual([]);
});

test("a budget from which a call could never be paid is refused at start", async () => {
  await expect(openLimits({ INGEST: 9 }, 10)).rejects.toThrow(/LIMIT_INGEST: a call may cost 100/);
  await expect(openLimits({ INGEST: 10 }, 10)).resolves.toBeDefined();
});

test("reflection is paid for by what is asked, and not by the stream", async () => {
  const { url } = await startLimited({ READ: 5 });
  const reflection = createClient(ServerReflection, transports(url)["gRPC over HTTP/2"]);
  const question = { messageRequest: { case: "listServices", value: "" } } as const;
  const answers = reflection.serverReflectionInfo(
    (async function* () {
      for (let count = 0; count < 10; count += 1) yield question;
    })(),
  );
  let answered = 0;
  const error = await (async () => {
    for await (const _ of answers) answered += 1;
  })().catch(ConnectError.from);
  expect([answered, error?.code]).toEqual([5, Code.ResourceExhausted]);
});
