import { once } from "node:events";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import type { Call } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { getCall } from "../../../../src/rpc/call/call-context.ts";
import { toDuration, withPolicy } from "../../../support/rpc/altered-contract.ts";
import { connectHttp2, envelope, grpcEnd, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import {
  callGrpcJs,
  getProductBytes,
  getProductPath,
  grpcJs,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A-1" } as const;
const grpcRequest = envelope(getProductBytes("A-1"));

type GetProduct = ServiceImpl<typeof CatalogService>["getProduct"];

/** Milliseconds. A deadline of minutes never passes during a test. */
interface Times {
  defaultMs?: number;
  maxMs?: number;
  settleMs?: number;
}

/** Starts a server with these deadlines for GetProduct, and records the calls that its handler gets. */
async function startWithDeadline(
  handler: (call: Call) => ReturnType<GetProduct>,
  { defaultMs = 200_000, maxMs = 300_000, settleMs = 60_000 }: Times = {},
) {
  const service = withPolicy(CatalogService, "GetProduct", (policy) => {
    if (policy.deadline === undefined) return undefined;
    policy.deadline.default = toDuration(defaultMs);
    policy.deadline.max = toDuration(maxMs);
    return undefined;
  });
  const calls: Call[] = [];
  const server = await startRpcServer({
    services: [service],
    limits: { settleMs },
    routes: (router) =>
      router.service(service, {
        getProduct: (_, context) => {
          const call = getCall(context);
          calls.push(call);
          return handler(call);
        },
      }),
  });
  return { ...server, calls };
}

/** Works until its signal aborts, and then rolls back. */
async function workUntilAborted({ signal }: Call): Promise<never> {
  await untilAborted(signal);
  throw signal.reason;
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

describe("the deadline of a call", () => {
  test("the deadline of a call is the default of its policy when the caller sets none", async () => {
    const { url } = await startWithDeadline(workUntilAborted, { defaultMs: 150 });
    const response = await post(url, getProduct, { sku: "A-1" });
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({
      code: "deadline_exceeded",
      message: "The call exceeded its deadline of 150 ms. Set a longer deadline or request less per call.",
      details: [
        { debug: { reason: "DEADLINE_EXCEEDED", domain: "cartwright", metadata: { timeout_ms: "150" } } },
      ],
    });
  });

  test.each([
    ["gRPC", { "grpc-timeout": "10S" }],
    ["gRPC, past what a timer can hold", { "grpc-timeout": "99999999H" }],
  ])(
    "the deadline of a call is at most the maximum of its policy when the caller sets more by %s",
    async (_, headers) => {
      const { url } = await startWithDeadline(workUntilAborted, { defaultMs: 100, maxMs: 300 });
      const stream = openGrpc(connectHttp2(url), getProductPath, headers);
      stream.end(grpcRequest);
      expect(await grpcEnd(stream)).toMatchObject({
        status: String(Code.DeadlineExceeded),
        message: expect.stringContaining("deadline of 300 ms"),
      });
    },
  );

  test("the deadline of a call is at most the maximum of its policy when the caller sets more by Connect", async () => {
    const { url } = await startWithDeadline(workUntilAborted, { defaultMs: 100, maxMs: 300 });
    const response = await post(url, getProduct, { sku: "A-1" }, { "connect-timeout-ms": "9999999" });
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({ message: expect.stringContaining("deadline of 300 ms") });
  });

  test.each([
    ["gRPC", "application/grpc", "50m"],
    ["gRPC-Web", "application/grpc-web", "50000u"],
  ])("the deadline of a call is the one that the caller sets by %s", async (_, type, timeout) => {
    const { url } = await startWithDeadline(workUntilAborted);
    const stream = openGrpc(connectHttp2(url), getProductPath, {
      "content-type": type,
      "grpc-timeout": timeout,
    });
    stream.end(grpcRequest);
    // gRPC-Web has its trailers in the body.
    const [{ message }, body] = await Promise.all([grpcEnd(stream), text(stream)]);
    expect(message || decodeURI(body)).toContain("deadline of 50 ms");
  });

  test.each(transportNames)("the deadline that the caller sets reaches the handler by %s", async (name) => {
    const { url, calls } = await startWithDeadline(() => ({}));
    const client = createClient(CatalogService, transports(url)[name]);
    const beforeMs = performance.now();
    await client.getProduct({ key }, { timeoutMs: 100_000 });
    const deadlineMs = (calls[0]?.deadlineAtMs ?? 0) - beforeMs;
    // The client sends what is left of it.
    expect(deadlineMs).toBeGreaterThan(50_000);
    expect(deadlineMs).toBeLessThan(performance.now() - beforeMs + 100_001);
  });

  test("the deadline that @grpc/grpc-js sets reaches the handler", async () => {
    const { port, calls } = await startWithDeadline(() => ({}));
    const client = grpcJs(port);
    await promisify(client.waitForReady.bind(client))(Date.now() + 100_000);
    const beforeMs = performance.now();
    await callGrpcJs(client, getProduct, { key }, { deadline: new Date(Date.now() + 100_000) });
    const deadlineMs = (calls[0]?.deadlineAtMs ?? 0) - beforeMs;
    expect(deadlineMs).toBeGreaterThan(50_000);
    expect(deadlineMs).toBeLessThan(performance.now() - beforeMs + 100_001);
  });

  test("a deadline that passes on the server is DEADLINE_EXCEEDED to @grpc/grpc-js", async () => {
    const { port } = await startWithDeadline(workUntilAborted, { defaultMs: 100 });
    await expect(callGrpcJs(grpcJs(port), getProduct, { key })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
  });

  test("a deadline of 0 ms keeps the handler from starting", async () => {
    const { url, calls } = await startWithDeadline(() => ({}));
    const response = await post(url, getProduct, { sku: "A-1" }, { "connect-timeout-ms": "0" });
    expect(response.status).toBe(504);
    expect(calls).toHaveLength(0);
  });

  test("the deadline of a call is rejected when it is malformed", async () => {
    const { url } = await startWithDeadline(() => ({}));
    const response = await post(url, getProduct, { sku: "A-1" }, { "connect-timeout-ms": "soon" });
    expect(response.status).toBe(400);
    const stream = openGrpc(connectHttp2(url), getProductPath, { "grpc-timeout": "10" });
    stream.end(grpcRequest);
    expect(await grpcStatus(stream)).toBe(String(Code.InvalidArgument));
  });

  test("the deadline of a call includes the time in which the request arrives", async () => {
    const { url, calls } = await startWithDeadline(() => ({}), { defaultMs: 150 });
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.write(grpcRequest.subarray(0, 3));
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
    expect(calls).toHaveLength(0);
  });

  test("the deadline of a call is in the details of the error", async () => {
    const { url } = await startWithDeadline(workUntilAborted, { defaultMs: 150 });
    const client = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
    const error = ConnectError.from(await client.getProduct({ key }).catch((reason: unknown) => reason));
    expect(error.rawMessage).toMatch(/^The call exceeded its deadline of 150 ms\./);
    expect(error.findDetails(ErrorInfoSchema)[0]?.metadata.timeout_ms).toBe("150");
  });
});

describe("a handler", () => {
  test("a handler that is past its commit at the deadline still responds", async () => {
    const handler = async ({ signal }: Call) => {
      await untilAborted(signal);
      return { product: { name: "committed" } };
    };
    const { url } = await startWithDeadline(handler, { defaultMs: 100 });
    const response = await post(url, getProduct, { sku: "A-1" });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ product: { name: "committed" } });
  });

  test("a handler that ignores its signal is abandoned after the deadline", async () => {
    const { url } = await startWithDeadline(() => new Promise(() => {}), { defaultMs: 100, settleMs: 50 });
    expect((await post(url, getProduct, { sku: "A-1" })).status).toBe(504);
  });

  test("a handler that fails after the deadline fails with DEADLINE_EXCEEDED, whatever it throws", async () => {
    const handler = async ({ signal }: Call) => {
      await untilAborted(signal);
      throw new Error("canceling statement due to user request");
    };
    const { url } = await startWithDeadline(handler, { defaultMs: 100 });
    const response = await post(url, getProduct, { sku: "A-1" });
    expect(await response.json()).toMatchObject({ code: "deadline_exceeded" });
  });

  test("a handler that fails before the deadline fails with its own error", async () => {
    const { url } = await startWithDeadline(async () => {
      throw new AppError("aborted", "Changed.", { reason: "STALE_ETAG" });
    });
    const response = await post(url, getProduct, { sku: "A-1" });
    expect(await response.json()).toMatchObject({ code: "aborted" });
  });

  test.each(transportNames)(
    "a handler that succeeds by %s keeps a signal that has not aborted",
    async (name) => {
      const { url, calls } = await startWithDeadline(() => ({}));
      await createClient(CatalogService, transports(url)[name]).getProduct({ key });
      expect(calls.map((call) => call.signal.aborted)).toEqual([false]);
    },
  );

  test.each(transportNames)("a handler is cancelled when its caller leaves by %s", async (name) => {
    const { url, calls, lines } = await startWithDeadline(workUntilAborted);
    const caller = new AbortController();
    const client = createClient(CatalogService, transports(url)[name]);
    const call = client.getProduct({ key }, { signal: caller.signal }).catch(() => {});
    await expect.poll(() => calls.length).toBe(1);
    caller.abort();
    await expect.poll(() => calls[0]?.signal.reason).toMatchObject({ code: "cancelled" });
    await call;
    await expect.poll(() => lines.map((line) => line.fields.code)).toEqual(["CANCELLED"]);
  });

  test("a handler that ignores its signal is abandoned when its caller leaves", async () => {
    const { url, calls, lines } = await startWithDeadline(() => new Promise(() => {}), { settleMs: 50 });
    const session = connectHttp2(url);
    openGrpc(session, getProductPath).end(grpcRequest);
    await expect.poll(() => calls.length).toBe(1);
    session.destroy();
    await expect.poll(() => lines.map(({ fields }) => fields.code)).toEqual(["CANCELLED"]);
  });

  test("a handler that ignores its signal is abandoned when its caller leaves after the deadline", async () => {
    const times = { defaultMs: 100, settleMs: 200 };
    const { url, calls, lines } = await startWithDeadline(() => new Promise(() => {}), times);
    const session = connectHttp2(url);
    openGrpc(session, getProductPath).end(grpcRequest);
    await expect.poll(() => calls[0]?.signal.aborted).toBe(true);
    session.destroy();
    await expect.poll(() => lines.map(({ fields }) => fields.code)).toEqual(["DEADLINE_EXCEEDED"]);
  });
});

test("the timers of calls end with them", async () => {
  const { url } = await startRpcServer();
  const client = createClient(CatalogService, transports(url)["Connect over HTTP/1.1"]);
  const timerCount = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  await client.getProduct({ key });
  const before = timerCount();
  await Promise.all(Array.from({ length: 50 }, () => client.getProduct({ key })));
  // Each kept-alive connection may have a timer; each call with a deadline of 5 s would leave one.
  expect(timerCount() - before).toBeLessThan(10);
});
