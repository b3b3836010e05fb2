import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import type { ServerLimits } from "../../../../src/rpc/server/server-limits.ts";
import { frameType, grpcFrame, http2Frame, openFrames, resetFrame } from "../../../support/http2-frames.ts";
import {
  connectHttp2,
  frame,
  getProductBytes,
  getProductPath,
  grpcStatus,
  milliseconds,
  openGrpc,
  start,
  timed,
  withPolicy,
} from "../../../support/rpc-server.ts";

const grpcRequest = frame(getProductBytes("A-1"));

/** The first method of a service, which is known to be of a kind. */
function ofKind<Kind extends DescMethod["methodKind"]>(kind: Kind, service: DescService) {
  const [method] = service.methods;
  const isOfKind = (method: DescMethod): method is DescMethod & { methodKind: Kind } =>
    method.methodKind === kind;
  if (method === undefined || !isOfKind(method)) throw new Error(`no ${kind} method`);
  return method;
}

describe("a stream", () => {
  test("is held to the same deadline, even when it ignores its signal", async () => {
    let finished = false;
    const service = withPolicy(CatalogService, "GetProduct", (policy, method) => {
      method.serverStreaming = true;
      if (policy.deadline !== undefined) policy.deadline.default = milliseconds(150);
      policy.cache = undefined;
    });
    const { url, lines } = await start({
      services: [service],
      limits: { settleMs: 100 },
      routes: (router) =>
        router.rpc(ofKind("server_streaming", service), async function* () {
          try {
            for (;;) {
              yield {};
              await sleep(20);
            }
          } finally {
            finished = true;
          }
        }),
    });
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.end(grpcRequest);
    const [code, tookMs] = await timed(grpcStatus(stream));
    expect(code).toBe(String(Code.DeadlineExceeded));
    expect(tookMs).toBeLessThan(3_000);
    await expect.poll(() => finished).toBe(true);
    await expect.poll(() => lines.map((line) => line.fields.code)).toEqual(["DEADLINE_EXCEEDED"]);
  });

  /** A server whose GetProduct reads a stream, and takes a while over each message. */
  async function startReader(ends: unknown[], limits: Partial<ServerLimits>, perMessageMs: number) {
    const service = withPolicy(CatalogService, "GetProduct", (policy, method) => {
      method.clientStreaming = true;
      policy.cache = undefined;
    });
    const received: unknown[] = [];
    const fixture = await start({
      services: [service],
      limits,
      routes: (router) =>
        router.rpc(ofKind("client_streaming", service), async (requests) => {
          try {
            for await (const request of requests) {
              received.push(request);
              await sleep(perMessageMs);
            }
            ends.push("complete");
          } catch (error) {
            ends.push(ConnectError.from(error).code);
          }
          return {};
        }),
    });
    return { ...fixture, received };
  }

  test.each([
    ["connection breaks", undefined],
    ["caller cancels it", 8],
    ["caller resets it as if all were well", 0],
  ])("whose %s does not pass for one that ends", async (_, code) => {
    const ends: unknown[] = [];
    const { port, received } = await startReader(ends, {}, 0);
    // By hand, for Node's client ends a stream before it resets it.
    const socket = await openFrames(port);
    socket.write(grpcFrame(1, getProductPath));
    const message = http2Frame(frameType.data, 0, 1, grpcRequest);
    socket.write(Buffer.concat([message, message]));
    await expect.poll(() => received.length).toBe(2);
    if (code === undefined) socket.destroy();
    else socket.write(resetFrame(1, code));
    await expect.poll(() => ends).toEqual([Code.Canceled]);
  });

  test("whose HTTP/1.1 connection breaks does not pass for one that ends", async () => {
    const ends: unknown[] = [];
    const { port, received } = await startReader(ends, {}, 0);
    const socket = connect(port, "127.0.0.1");
    socket.write(`POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/connect+proto\r\n`);
    socket.write(`Transfer-Encoding: chunked\r\n\r\n${grpcRequest.length.toString(16)}\r\n`);
    socket.write(Buffer.concat([grpcRequest, Buffer.from("\r\n")]));
    await expect.poll(() => received.length).toBe(1);
    socket.destroy();
    await expect.poll(() => ends).toEqual([Code.Canceled]);
  });

  test("is not cut off while its handler is busy", async () => {
    const ends: unknown[] = [];
    const { url } = await startReader(ends, { bodyIdleMs: 100 }, 250);
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.write(grpcRequest);
    stream.end(grpcRequest);
    expect(await grpcStatus(stream)).toBe("0");
    expect(ends).toEqual(["complete"]);
  });
});

test("a timeout that no timer can hold is one of years, not of a moment", async () => {
  const signals: AbortSignal[] = [];
  const { url } = await start({
    limits: { settleMs: 1 },
    catalog: {
      getProduct: async (_, { signal }) => {
        await sleep(50);
        signals.push(signal);
        return {};
      },
    },
  });
  const session = connectHttp2(url);
  const headers = { "grpc-timeout": "99999999H" };
  const call = openGrpc(session, getProductPath, headers);
  call.end(grpcRequest);
  expect(await grpcStatus(call)).toBe("0");
  // Connect's own signal, which it ends with the call.
  expect(signals[0]?.reason).not.toBeInstanceOf(ConnectError);
  const watch = openGrpc(session, "/grpc.health.v1.Health/Watch", headers);
  watch.end(frame(Buffer.alloc(0)));
  await once(watch, "response");
  const ended = grpcStatus(watch);
  expect(await Promise.race([ended, sleep(200, "goes on")])).toBe("goes on");
});
