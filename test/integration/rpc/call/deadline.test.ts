import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { Health } from "../../../../gen/grpc/health/v1/health_pb.ts";
import type { Call } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { getCall } from "../../../../src/rpc/call/call-context.ts";
import {
  callGrpcJs,
  connectHttp2,
  frame,
  getProductBytes,
  getProductPath,
  grpcJs,
  grpcStatus,
  milliseconds,
  openGrpc,
  post,
  start,
  timed,
  transportNames,
  transports,
  withPolicy,
} from "../../../support/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A-1" } as const;
const grpcRequest = frame(getProductBytes("A-1"));

type GetProduct = ServiceImpl<typeof CatalogService>["getProduct"];

/** A server whose GetProduct takes 150 ms by default and 300 ms at most, and may settle for 200 ms more. */
function startBounded(handler: (call: Call) => ReturnType<GetProduct>, calls: Call[] = []) {
  const service = withPolicy(CatalogService, "GetProduct", (policy) => {
    if (policy.deadline === undefined) return;
    policy.deadline.default = milliseconds(150);
    policy.deadline.max = milliseconds(300);
  });
  return start({
    services: [service],
    limits: { settleMs: 200 },
    routes: (router) =>
      router.service(service, {
        getProduct: (_, context) => {
          const call = getCall(context);
          calls.push(call);
          return handler(call);
        },
      }),
  });
}

/** Works until it is told to stop, then rolls back. */
async function obedient({ signal }: Call): Promise<never> {
  await once(signal, "abort");
  throw signal.reason;
}

describe("the deadline", () => {
  test("is the policy's default when the caller sets none", async () => {
    const calls: Call[] = [];
    const { url } = await startBounded(obedient, calls);
    const [answer, tookMs] = await timed(post(url, getProduct, { sku: "A-1" }));
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({
      code: "deadline_exceeded",
      details: [{ debug: { reason: "DEADLINE_EXCEEDED", domain: "cartwright" } }],
    });
    expect(tookMs).toBeGreaterThan(140);
    expect(tookMs).toBeLessThan(2_000);
    expect(calls[0]?.deadlineAtMs).toBeCloseTo(performance.now(), -4);
  });

  test.each([
    ["gRPC", { "grpc-timeout": "10S" }],
    ["gRPC, past what a timer can hold", { "grpc-timeout": "99999999H" }],
  ])("is the policy's longest when the caller wants more: %s", async (_, headers) => {
    const { url } = await startBounded(obedient);
    const stream = openGrpc(connectHttp2(url), getProductPath, headers);
    stream.end(grpcRequest);
    const [code, tookMs] = await timed(grpcStatus(stream));
    expect(code).toBe(String(Code.DeadlineExceeded));
    expect(tookMs).toBeGreaterThan(290);
    expect(tookMs).toBeLessThan(3_000);
  });

  test("is the policy's longest when the caller wants more: Connect", async () => {
    const { url } = await startBounded(obedient);
    const request = post(url, getProduct, { sku: "A-1" }, { "connect-timeout-ms": "9999999" });
    const [answer, tookMs] = await timed(request);
    expect(answer.status).toBe(504);
    expect(tookMs).toBeGreaterThan(290);
  });

  test.each([
    ["grpc-timeout", "50m", "application/grpc"],
    ["grpc-timeout", "50000u", "application/grpc-web"],
  ])("is the caller's: %s %s for %s", async (name, value, type) => {
    // Here the default is 5 s.
    const reasons: unknown[] = [];
    const { url } = await start({
      catalog: {
        getProduct: async (_, context) => {
          const { signal } = getCall(context);
          await once(signal, "abort");
          reasons.push(signal.reason);
          throw signal.reason;
        },
      },
    });
    const stream = openGrpc(connectHttp2(url), getProductPath, { [name]: value, "content-type": type });
    stream.end(grpcRequest);
    const [, tookMs] = await timed(grpcStatus(stream));
    expect(tookMs).toBeGreaterThan(45);
    expect(tookMs).toBeLessThan(3_000);
    expect(reasons).toMatchObject([{ code: "deadline_exceeded" }]);
  });

  test.each(transportNames)("of the caller reaches the handler by %s", async (name) => {
    const calls: Call[] = [];
    const { url } = await startBounded(obedient, calls);
    const transport = transports(url)[name];
    // So that there is a connection.
    await createClient(Health, transport).check({});
    const client = createClient(CatalogService, transport);
    const error = await client.getProduct({ key }, { timeoutMs: 100 }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.DeadlineExceeded });
    await expect.poll(() => calls[0]?.signal.aborted).toBe(true);
  });

  test("of @grpc/grpc-js reaches the handler", async () => {
    const calls: Call[] = [];
    const { port } = await startBounded(obedient, calls);
    const client = grpcJs(port);
    const ready = promisify(client.waitForReady.bind(client));
    await ready(Date.now() + 10_000);
    const deadline = new Date(Date.now() + 100);
    await expect(callGrpcJs(client, getProduct, { key }, { deadline })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
    await expect.poll(() => calls[0]?.signal.aborted).toBe(true);
  });

  test("of 0 ms keeps the handler from starting", async () => {
    const calls: Call[] = [];
    const { url } = await startBounded(() => ({}), calls);
    const answer = await post(url, getProduct, { sku: "A-1" }, { "connect-timeout-ms": "0" });
    expect(answer.status).toBe(504);
    expect(calls).toHaveLength(0);
  });

  test("that is malformed is refused", async () => {
    const { url } = await startBounded(() => ({}));
    const answer = await post(url, getProduct, { sku: "A-1" }, { "connect-timeout-ms": "soon" });
    expect(answer.status).toBe(400);
    const stream = openGrpc(connectHttp2(url), getProductPath, { "grpc-timeout": "10" });
    stream.end(grpcRequest);
    expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
  });

  test("holds for the time that the request takes to arrive", async () => {
    const { url } = await startBounded(() => ({}));
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.write(grpcRequest.subarray(0, 3));
    const [code, tookMs] = await timed(grpcStatus(stream));
    expect(code).toBe(String(Code.DeadlineExceeded));
    expect(tookMs).toBeLessThan(2_000);
  });
});

describe("a handler", () => {
  test("that is past its commit at the deadline is heard", async () => {
    const { url } = await startBounded(async () => {
      await sleep(250);
      return { product: { name: "committed" } };
    });
    const answer = await post(url, getProduct, { sku: "A-1" });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ product: { name: "committed" } });
  });

  test("that ignores its signal is not waited for", async () => {
    const { url } = await startBounded(() => sleep(10_000, {}, { ref: false }));
    const [answer, tookMs] = await timed(post(url, getProduct, { sku: "A-1" }));
    expect(answer.status).toBe(504);
    expect(tookMs).toBeGreaterThan(340);
    expect(tookMs).toBeLessThan(5_000);
  });

  test("that fails after the deadline was late, whatever else it says", async () => {
    const { url } = await startBounded(async ({ signal }) => {
      await once(signal, "abort");
      throw new Error("canceling statement due to user request");
    });
    const answer = await post(url, getProduct, { sku: "A-1" });
    expect(await answer.json()).toMatchObject({ code: "deadline_exceeded" });
  });

  test("that fails before the deadline is heard", async () => {
    const { url } = await startBounded(async () => {
      throw new AppError("conflict", "Changed.", { reason: "STALE_ETAG" });
    });
    const answer = await post(url, getProduct, { sku: "A-1" });
    expect(await answer.json()).toMatchObject({ code: "aborted" });
  });

  test("that succeeds is never told to stop", async () => {
    const calls: Call[] = [];
    const { url } = await startBounded(() => ({}), calls);
    for (const name of transportNames) {
      await createClient(CatalogService, transports(url)[name]).getProduct({ key });
    }
    await sleep(350);
    expect(calls.map((call) => call.signal.aborted)).toEqual(transportNames.map(() => false));
  });

  test.each(transportNames)("is told when its caller leaves by %s", async (name) => {
    const calls: Call[] = [];
    const { url, lines } = await startBounded(obedient, calls);
    const left = new AbortController();
    const client = createClient(CatalogService, transports(url)[name]);
    const call = client.getProduct({ key }, { signal: left.signal, timeoutMs: 10_000 }).catch(() => {});
    await expect.poll(() => calls.length).toBe(1);
    left.abort();
    await expect.poll(() => calls[0]?.signal.reason, { interval: 5 }).toMatchObject({ code: "cancelled" });
    await call;
    await expect.poll(() => lines.map((line) => line.fields.code)).toEqual(["CANCELLED"]);
  });
});

test("timers go with their calls", async () => {
  const { url } = await start();
  const client = createClient(CatalogService, transports(url)["Connect over HTTP/1.1"]);
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  await client.getProduct({ key });
  const before = timers();
  await Promise.all(Array.from({ length: 50 }, () => client.getProduct({ key })));
  // Connections are kept alive by a timer each, and calls of 5 s would leave one each.
  expect(timers() - before).toBeLessThan(10);
});

describe("a handler that ignores its signal is given up", () => {
  test.each([
    ["when its caller leaves", 200, "CANCELLED"],
    ["when its caller leaves at the deadline", 0, "DEADLINE_EXCEEDED"],
  ])("%s", async (_, earlyMs, code) => {
    const { url, lines } = await startBounded(() => new Promise(() => {}));
    const session = connectHttp2(url);
    const stream = openGrpc(session, getProductPath, { "grpc-timeout": "250m" });
    stream.end(grpcRequest);
    await sleep(300 - earlyMs);
    session.destroy();
    await expect.poll(() => lines.map(({ fields }) => fields.code)).toEqual([code]);
  });
});

test("the error says what to do", async () => {
  const { url } = await startBounded(obedient);
  const client = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
  const error = await client.getProduct({ key }).catch(ConnectError.from);
  expect(error).toSatisfy((error: ConnectError) =>
    error.rawMessage.startsWith("The call exceeded its deadline of 150 ms."),
  );
  expect(error).toSatisfy(
    (error: ConnectError) => error.findDetails(ErrorInfoSchema)[0]?.metadata.timeout_ms === "150",
  );
});
