import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../../gen/grpc/health/v1/health_pb.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { callGrpcJs, grpcJs, transportNames, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

/** Every probe runs the check, and watches look for a change all the time. */
const limits = { readinessMaxAgeMs: 0, healthWatchMs: 10 };

/** Returns a store whose state a test sets, and its readiness check. */
function createStore() {
  const state = { ready: true, checkCount: 0 };
  const isReady = async () => {
    state.checkCount += 1;
    return { ready: state.ready, checks: { store: state.ready ? "ok" : "away" } };
  };
  return { state, isReady };
}

describe("Check", () => {
  test.each(transportNames)(
    "Check returns the status of the server and of its services by %s",
    async (name) => {
      const { url } = await startRpcServer();
      const client = createClient(Health, transports(url)[name]);
      expect(await client.check({})).toMatchObject({ status: Status.SERVING });
      expect(await client.check({ service: CatalogService.typeName })).toMatchObject({
        status: Status.SERVING,
      });
      const error = await client.check({ service: "nope" }).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.NotFound, rawMessage: 'Unknown service "nope".' });
      expect(ConnectError.from(error).findDetails(ErrorInfoSchema)).toMatchObject([
        { reason: "SERVICE_NOT_FOUND", domain: "cartwright" },
      ]);
    },
  );

  test("Check cuts a long name in its error", async () => {
    const { url } = await startRpcServer();
    const client = createClient(Health, transports(url)["gRPC over HTTP/2"]);
    const error = ConnectError.from(
      await client.check({ service: "x".repeat(100_000) }).catch((reason: unknown) => reason),
    );
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage.length).toBeLessThan(100);
  });

  test("Check serves @grpc/grpc-js", async () => {
    const { state, isReady } = createStore();
    state.ready = false;
    const { port } = await startRpcServer({ isReady });
    const { check } = Health.method;
    const client = grpcJs(port);
    expect(await callGrpcJs(client, check, {})).toMatchObject({ status: Status.NOT_SERVING });
    await expect(callGrpcJs(client, check, { service: "nope" })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});

describe("Watch", () => {
  test("Watch sends each change of the status", async () => {
    const { state, isReady } = createStore();
    const { url } = await startRpcServer({ isReady, limits });
    const client = createClient(Health, transports(url)["gRPC over HTTP/2"]);
    const received: Status[] = [];
    for await (const { status } of client.watch({})) {
      received.push(status);
      state.ready = !state.ready;
      if (received.length === 3) break;
    }
    expect(received).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
  });

  test("Watch of an unknown service sends SERVICE_UNKNOWN once and goes on until the caller leaves", async () => {
    const { state, isReady } = createStore();
    const { url } = await startRpcServer({ isReady, limits });
    const client = createClient(Health, transports(url)["gRPC over HTTP/2"]);
    const caller = new AbortController();
    const received: Status[] = [];
    const watch = async (service: string) => {
      for await (const { status } of client.watch({ service }, { signal: caller.signal }))
        received.push(status);
    };
    const unknown = watch("nope").catch((error: unknown) => ConnectError.from(error).code);
    await expect.poll(() => received).toEqual([Status.SERVICE_UNKNOWN]);
    // A watch beside it looks for changes at the same interval.
    const known = watch("").catch(() => {});
    await expect.poll(() => state.checkCount).toBeGreaterThan(10);
    caller.abort();
    expect(await unknown).toBe(Code.Canceled);
    await known;
    expect(received).toEqual([Status.SERVICE_UNKNOWN, Status.SERVING]);
  });

  test("Watch ends at the deadline of the caller", async () => {
    const { url } = await startRpcServer();
    const stream = openGrpc(connectHttp2(url), "/grpc.health.v1.Health/Watch", { "grpc-timeout": "200m" });
    stream.end(envelope(Buffer.alloc(0)));
    expect(await grpcStatus(stream)).toBe("0");
  });

  test("Watch has no deadline of the server", async () => {
    const { state, isReady } = createStore();
    const { url, lines } = await startRpcServer({
      isReady,
      limits: { ...limits, standardTimeoutMs: 1, bodyIdleMs: 1_000, settleMs: 1 },
    });
    const client = createClient(Health, transports(url)["Connect over HTTP/1.1"]);
    const received: Status[] = [];
    for await (const { status } of client.watch({})) {
      received.push(status);
      // A deadline of 1 ms would have passed before the next of several looks.
      if (received.length === 1) await expect.poll(() => state.checkCount).toBeGreaterThan(10);
      state.ready = !state.ready;
      if (received.length === 2) break;
    }
    expect(received).toEqual([Status.SERVING, Status.NOT_SERVING]);
    expect(lines.filter(({ fields }) => fields.code === "DEADLINE_EXCEEDED")).toEqual([]);
  });
});

describe("/readyz", () => {
  test("/readyz reports each check", async () => {
    const { state, isReady } = createStore();
    const { url } = await startRpcServer({ isReady, limits });
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ ready: true, checks: { store: "ok" } });
    state.ready = false;
    const away = await fetch(`${url}/readyz`);
    expect(away.status).toBe(503);
    expect(await away.json()).toEqual({ ready: false, checks: { store: "away" } });
  });

  test("/readyz runs one check for many probes", async () => {
    const { state, isReady } = createStore();
    const { url } = await startRpcServer({ isReady, limits: { readinessMaxAgeMs: 600_000 } });
    await Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/readyz`)));
    expect(state.checkCount).toBe(1);
  });

  test("/readyz is 503 when a check fails, without its error", async () => {
    const { url, lines } = await startRpcServer({ isReady: () => Promise.reject(new Error("boom")) });
    const response = await fetch(`${url}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain("boom");
    expect(lines[0]?.level).toBe("error");
  });

  test("/readyz is 503 when a check hangs", async () => {
    const { url } = await startRpcServer({
      isReady: () => new Promise(() => {}),
      limits: { readinessTimeoutMs: 100 },
    });
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
  });
});

test("/healthz is 200 whatever the stores do", async () => {
  const { url } = await startRpcServer({ isReady: () => Promise.reject(new Error("boom")) });
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});
