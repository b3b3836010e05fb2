import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { firstMethod, toDuration, withPolicy } from "../../../support/rpc/altered-contract.ts";
import {
  errorCode,
  frameType,
  grpcHeadersFrame,
  http2Frame,
  resetFrame,
} from "../../../support/rpc/http2-frames.ts";
import { openRawHttp2 } from "../../../support/rpc/raw-connection.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const grpcRequest = envelope(getProductBytes("A-1"));

/** Starts a server whose GetProduct reads a stream, and records its messages and how it ended. */
async function startStreamReader() {
  const service = withPolicy(CatalogService, "GetProduct", (policy, method) => {
    method.clientStreaming = true;
    policy.cache = undefined;
    return undefined;
  });
  const received: unknown[] = [];
  const ends: unknown[] = [];
  const server = await startRpcServer({
    services: [service],
    routes: (router) =>
      router.rpc(firstMethod("client_streaming", service), async (requests) => {
        try {
          for await (const request of requests) received.push(request);
          ends.push("complete");
        } catch (error) {
          ends.push(ConnectError.from(error).code);
        }
        return {};
      }),
  });
  return { ...server, received, ends };
}

describe("a stream of responses", () => {
  test("a stream of responses ends at its deadline, even when its handler ignores the signal", async () => {
    let isFinished = false;
    const service = withPolicy(CatalogService, "GetProduct", (policy, method) => {
      method.serverStreaming = true;
      if (policy.deadline !== undefined) policy.deadline.default = toDuration(150);
      policy.cache = undefined;
      return undefined;
    });
    const { url, lines } = await startRpcServer({
      services: [service],
      limits: { settleMs: 100 },
      routes: (router) =>
        router.rpc(firstMethod("server_streaming", service), async function* () {
          try {
            for (;;) {
              yield {};
              await nextTurn();
            }
          } finally {
            isFinished = true;
          }
        }),
    });
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.end(grpcRequest);
    expect(await grpcStatus(stream)).toBe(String(Code.DeadlineExceeded));
    await expect.poll(() => isFinished).toBe(true);
    await expect.poll(() => lines.map((line) => line.fields.code)).toEqual(["DEADLINE_EXCEEDED"]);
  });

  test("a stream of responses without a policy goes on when the caller's timeout is longer than a timer can hold", async () => {
    const store = { ready: true };
    const { url } = await startRpcServer({
      isReady: async () => ({ ready: store.ready, checks: {} }),
      limits: { healthWatchMs: 10, readinessMaxAgeMs: 0 },
    });
    const watch = openGrpc(connectHttp2(url), "/grpc.health.v1.Health/Watch", {
      "grpc-timeout": "99999999H",
    });
    watch.end(envelope(Buffer.alloc(0)));
    await once(watch, "data");
    store.ready = false;
    // A timer that overflows fires after 1 ms: the watch would have ended before this.
    await once(watch, "data");
    expect(watch.readableEnded).toBe(false);
  });
});

describe("a stream of requests", () => {
  test.each([
    ["connection breaks", undefined],
    ["caller cancels it", errorCode.cancel],
    ["caller resets it with NO_ERROR", errorCode.noError],
  ])("a stream of requests whose %s is cancelled, not complete", async (_, code) => {
    const { port, received, ends } = await startStreamReader();
    // By hand: Node's client ends a stream before it resets it.
    const socket = await openRawHttp2(port);
    socket.write(grpcHeadersFrame(1, getProductPath));
    const message = http2Frame(frameType.data, 0, 1, grpcRequest);
    socket.write(Buffer.concat([message, message]));
    await expect.poll(() => received.length).toBe(2);
    if (code === undefined) socket.destroy();
    else socket.write(resetFrame(1, code));
    await expect.poll(() => ends).toEqual([Code.Canceled]);
  });

  test("a stream of requests whose HTTP/1.1 connection breaks is cancelled, not complete", async () => {
    const { port, received, ends } = await startStreamReader();
    const socket = connect(port, "127.0.0.1");
    socket.write(`POST ${getProductPath} HTTP/1.1\r\nHost: a\r\nContent-Type: application/connect+proto\r\n`);
    socket.write(`Transfer-Encoding: chunked\r\n\r\n${grpcRequest.length.toString(16)}\r\n`);
    socket.write(Buffer.concat([grpcRequest, Buffer.from("\r\n")]));
    await expect.poll(() => received.length).toBe(1);
    socket.destroy();
    await expect.poll(() => ends).toEqual([Code.Canceled]);
  });

  test("a stream of requests that the caller ends is complete", async () => {
    const { url, ends } = await startStreamReader();
    const stream = openGrpc(connectHttp2(url), getProductPath);
    stream.write(grpcRequest);
    stream.end(grpcRequest);
    expect(await grpcStatus(stream)).toBe("0");
    expect(ends).toEqual(["complete"]);
  });
});
