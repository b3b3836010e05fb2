import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { blockReads } from "../../../support/rpc/blocking-handler.ts";
import { frameType, getRequestFrame } from "../../../support/rpc/http2-frames.ts";
import { openRawHttp2, readFrames, waitForClose } from "../../../support/rpc/raw-connection.ts";
import {
  callGrpcJs,
  getProductPath,
  grpcJs,
  post,
  transportNames,
  transports,
} from "../../../support/rpc/rpc-clients.ts";
import { type RpcServer, type RpcServerOptions, startRpcServer } from "../../../support/rpc/rpc-server.ts";

const { getProduct } = CatalogService.method;
const key = { case: "sku", value: "A" } as const;

/** Longer than a test may take: a stop that waits for it fails. */
const NEVER_MS = 600_000;

/** Starts a server whose GetProduct responds after `release`. */
async function startBlocking(
  options: RpcServerOptions = {},
): Promise<RpcServer & Omit<ReturnType<typeof blockReads>, "catalog">> {
  const { catalog, startedCount, release } = blockReads();
  return { ...(await startRpcServer({ catalog, ...options })), startedCount, release };
}

describe("calls in flight finish when the server stops", () => {
  test.each(transportNames)("calls in flight finish when the server stops by %s", async (name) => {
    const { url, server, startedCount, release } = await startBlocking();
    const client = createClient(CatalogService, transports(url)[name]);
    const calls = Array.from({ length: 5 }, () => client.getProduct({ key }));
    await expect.poll(startedCount).toBe(5);
    const closing = server.close(NEVER_MS);
    release();
    expect((await Promise.all(calls)).map(({ product }) => product?.sku)).toEqual(Array(5).fill("A"));
    await closing;
  });

  test("calls in flight finish when the server stops by @grpc/grpc-js", async () => {
    const { port, server, startedCount, release } = await startBlocking();
    const call = callGrpcJs(grpcJs(port), getProduct, { key });
    await expect.poll(startedCount).toBe(1);
    const closing = server.close(NEVER_MS);
    release();
    expect((await call).product?.sku).toBe("A");
    await closing;
  });

  test("calls in flight finish when the server stops under load, and every call that began gets its response", async () => {
    let handled = 0;
    const { url, server } = await startRpcServer({
      catalog: {
        getProduct: async () => {
          await nextTurn();
          handled += 1;
          return { product: { sku: "A" } };
        },
      },
    });
    const all = transports(url);
    let responded = 0;
    const failures: string[] = [];
    const callUntilFailure = async (name: (typeof transportNames)[number]) => {
      const client = createClient(CatalogService, all[name]);
      for (;;) {
        try {
          await client.getProduct({ key });
          responded += 1;
        } catch (error) {
          failures.push(String(ConnectError.from(error)));
          return;
        }
      }
    };
    const load = transportNames.flatMap((name) => Array.from({ length: 5 }, () => callUntilFailure(name)));
    await expect.poll(() => responded).toBeGreaterThan(200);
    await server.close(NEVER_MS);
    await Promise.all(load);
    expect(handled).toBe(responded);
    // Calls without a response never began, and may be retried elsewhere. Connect's client reports a stream that HTTP/2
    // refuses as an internal error.
    const begun = failures.filter((text) => !/\[(unavailable|aborted)\]|REFUSED_STREAM/.test(text));
    expect(begun).toEqual([]);
  });
});

describe("when the stop begins", () => {
  test("when the stop begins, new connections are rejected, and connections that have sent nothing are closed", async () => {
    const { port, server, url, startedCount, release } = await startBlocking({
      limits: { firstByteMs: NEVER_MS },
    });
    const call = post(url, getProduct, { sku: "A" });
    const silent = connect(port, "127.0.0.1");
    await once(silent, "connect");
    await expect.poll(startedCount).toBe(1);
    const closing = server.close(NEVER_MS);
    await waitForClose(silent);
    const late = connect(port, "127.0.0.1");
    await expect(once(late, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    release();
    expect((await call).status).toBe(200);
    await closing;
  });

  test("when the stop begins, watchers of health get NOT_SERVING immediately, and then the end", async () => {
    const { url, server } = await startRpcServer({ limits: { healthWatchMs: NEVER_MS } });
    const received: Status[][] = [];
    const watches = [transports(url)["gRPC over HTTP/2"], transports(url)["Connect over HTTP/1.1"]].map(
      async (transport) => {
        const statuses: Status[] = [];
        received.push(statuses);
        for await (const { status } of createClient(Health, transport).watch({})) statuses.push(status);
        return statuses;
      },
    );
    await expect.poll(() => received.flat()).toEqual([Status.SERVING, Status.SERVING]);
    const closing = server.close(NEVER_MS);
    for (const watch of watches) expect(await watch).toEqual([Status.SERVING, Status.NOT_SERVING]);
    await closing;
  });

  test("when the stop begins, probes get 503 with connection: close", async () => {
    const { port, server, startedCount, release, url } = await startBlocking({
      limits: { stopIdleMs: NEVER_MS },
    });
    const call = post(url, getProduct, { sku: "A" });
    await expect.poll(startedCount).toBe(1);
    const socket = connect(port, "127.0.0.1");
    socket.write("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    const [before]: Buffer[] = await once(socket, "data");
    expect(before?.toString()).toMatch(/^HTTP\/1\.1 200/);
    const closing = server.close(NEVER_MS);
    socket.write("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    let after = "";
    socket.on("data", (chunk) => {
      after += chunk;
    });
    await waitForClose(socket);
    expect(after).toMatch(/^HTTP\/1\.1 503/);
    expect(after.toLowerCase()).toContain("connection: close");
    expect(after).toContain('{"ready":false,"checks":{"server":"stopping"}}');
    release();
    expect((await call).headers.get("connection")).toBe("close");
    await closing;
  });

  test("when the stop begins, HTTP/2 callers get GOAWAY with the last stream that is served", async () => {
    const { port, server, startedCount, release } = await startBlocking();
    const socket = await openRawHttp2(port);
    socket.write(getRequestFrame(1, "/healthz"));
    socket.write(getRequestFrame(3, `${getProductPath}?encoding=json&message={"sku":"A"}`));
    await expect.poll(startedCount).toBe(1);
    const closing = server.close(NEVER_MS);
    const seen: string[] = [];
    for await (const { type, stream, payload } of readFrames(socket)) {
      if (type === frameType.goaway) {
        seen.push(`goaway ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`);
        release();
      }
      if (type === frameType.headers) seen.push(`headers ${stream}`);
    }
    expect(seen.slice(0, 3)).toEqual(["headers 1", "goaway 3 0", "headers 3"]);
    await closing;
  });

  test("when the stop begins, idle keep-alive connections are closed", async () => {
    const { port, server } = await startRpcServer({ limits: { keepAliveMs: NEVER_MS } });
    const socket = connect(port, "127.0.0.1");
    socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(socket, "data");
    await server.close(NEVER_MS);
    await waitForClose(socket);
  });

  test("when the stop begins, reflection streams end", async () => {
    const { url, server } = await startRpcServer();
    const client = createClient(ServerReflection, transports(url)["gRPC over HTTP/2"]);
    const endless = async function* () {
      yield { messageRequest: { case: "listServices", value: "" } } as const;
      await new Promise(() => {});
    };
    let received = 0;
    const stream = (async () => {
      for await (const _ of client.serverReflectionInfo(endless())) received += 1;
    })();
    await expect.poll(() => received).toBe(1);
    await server.close(NEVER_MS);
    await stream;
  });
});

describe("what does not finish in the grace period", () => {
  test("a call that does not finish in the grace period is aborted", async () => {
    const signals: AbortSignal[] = [];
    const { url, port, server } = await startRpcServer({
      catalog: {
        getProduct: (_, { signal }) => {
          signals.push(signal);
          return new Promise(() => {});
        },
      },
    });
    const calls = [
      createClient(CatalogService, transports(url)["gRPC over HTTP/2"]).getProduct({ key }),
      createClient(CatalogService, transports(url)["Connect over HTTP/1.1"]).getProduct({ key }),
      callGrpcJs(grpcJs(port), getProduct, { key }),
    ].map((call) =>
      call.then(
        () => "completed",
        () => "aborted",
      ),
    );
    await expect.poll(() => signals.length).toBe(3);
    await server.close(200);
    expect(await Promise.all(calls)).toEqual(["aborted", "aborted", "aborted"]);
    await expect.poll(() => signals.every(({ aborted }) => aborted)).toBe(true);
  });

  test("a call in flight is aborted immediately when the grace period is 0 ms", async () => {
    const { port, server } = await startRpcServer({ limits: { headersMs: 300_000 } });
    const sockets = Array.from({ length: 10 }, () => connect(port, "127.0.0.1"));
    for (const socket of sockets) socket.on("error", () => {}).write("GET /healthz HTTP/1.1\r\n");
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    await server.close(0);
    await Promise.all(sockets.map(waitForClose));
  });
});

test("a second stop waits for the first, and stopping a stopped server does nothing", async () => {
  const { url, server, startedCount, release } = await startBlocking();
  const call = post(url, getProduct, { sku: "A" });
  await expect.poll(startedCount).toBe(1);
  const first = server.close(NEVER_MS);
  const second = server.close(0);
  release();
  expect((await call).status).toBe(200);
  await Promise.all([first, second]);
  await server.close(0);
});

test("calls after the stop are UNAVAILABLE to @grpc/grpc-js", async () => {
  const { port, server } = await startRpcServer();
  const client = grpcJs(port);
  await callGrpcJs(client, getProduct, { key });
  await server.close(NEVER_MS);
  await expect(callGrpcJs(client, getProduct, { key })).rejects.toMatchObject({ code: status.UNAVAILABLE });
});
