import { setTimeout as sleep } from "node:timers/promises";
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

/** A store that can be taken away. */
function store() {
  const state = { ready: true, asked: 0 };
  const isReady = async () => {
    state.asked += 1;
    return { ready: state.ready, checks: { store: state.ready ? "ok" : "away" } };
  };
  return { state, isReady };
}

describe("Check", () => {
  test.each(transportNames)("answers by %s", async (name) => {
    const { url } = await startRpcServer();
    const client = createClient(Health, transports(url)[name]);
    expect(await client.check({})).toMatchObject({ status: Status.SERVING });
    expect(await client.check({ service: CatalogService.typeName })).toMatchObject({
      status: Status.SERVING,
    });
    const error = await client.check({ service: "nope" }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.NotFound });
    expect(ConnectError.from(error).findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: "SERVICE_NOT_FOUND", domain: "cartwright" },
    ]);
  });

  test("says a long name in short", async () => {
    const { url } = await startRpcServer();
    const client = createClient(Health, transports(url)["gRPC over HTTP/2"]);
    const error = await client.check({ service: "x".repeat(100_000) }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.NotFound });
  });

  test("answers @grpc/grpc-js", async () => {
    const { state, isReady } = store();
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
  test("tells of each change", async () => {
    const { state, isReady } = store();
    const { url } = await startRpcServer({ isReady });
    const client = createClient(Health, transports(url)["gRPC over HTTP/2"]);
    const seen: Status[] = [];
    for await (const { status } of client.watch({})) {
      seen.push(status);
      state.ready = !state.ready;
      if (seen.length === 3) break;
    }
    expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
  });

  test("stays with a service that it does not know", async () => {
    const { url } = await startRpcServer();
    const client = createClient(Health, transports(url)["gRPC over HTTP/2"]);
    const left = new AbortController();
    const watch = client.watch({ service: "nope" }, { signal: left.signal })[Symbol.asyncIterator]();
    expect(await watch.next()).toMatchObject({ value: { status: Status.SERVICE_UNKNOWN } });
    const next = watch.next().catch((error: unknown) => ConnectError.from(error).code);
    expect(await Promise.race([next, sleep(1_300, "waits")])).toBe("waits");
    left.abort();
    expect(await next).toBe(Code.Canceled);
  });

  test("keeps to a deadline of the caller's", async () => {
    const { url } = await startRpcServer();
    const stream = openGrpc(connectHttp2(url), "/grpc.health.v1.Health/Watch", { "grpc-timeout": "200m" });
    stream.end(envelope(Buffer.alloc(0)));
    const startMs = performance.now();
    await grpcStatus(stream);
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });

  test("has no deadline of ours", async () => {
    const { url } = await startRpcServer({ limits: { standardTimeoutMs: 50, bodyIdleMs: 50, settleMs: 1 } });
    const client = createClient(Health, transports(url)["Connect over HTTP/1.1"]);
    const left = new AbortController();
    const watch = client.watch({}, { signal: left.signal })[Symbol.asyncIterator]();
    await watch.next();
    const next = watch.next().catch((error: unknown) => ConnectError.from(error).code);
    expect(await Promise.race([next, sleep(300, "waits")])).toBe("waits");
    left.abort();
    await next;
  });
});

describe("/readyz", () => {
  test("tells what was checked", async () => {
    const { state, isReady } = store();
    const { url } = await startRpcServer({ isReady });
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ ready: true, checks: { store: "ok" } });
    state.ready = false;
    await sleep(1_050);
    const away = await fetch(`${url}/readyz`);
    expect(away.status).toBe(503);
    expect(await away.json()).toEqual({ ready: false, checks: { store: "away" } });
  });

  test("asks the stores once a second at most", async () => {
    const { state, isReady } = store();
    const { url } = await startRpcServer({ isReady });
    await Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/readyz`)));
    expect(state.asked).toBe(1);
  });

  test("is no when a check fails or hangs", async () => {
    const failing = await startRpcServer({ isReady: () => Promise.reject(new Error("boom")) });
    const failed = await fetch(`${failing.url}/readyz`);
    expect(failed.status).toBe(503);
    expect(await failed.text()).not.toContain("boom");
    expect(failing.lines[0]?.level).toBe("error");
    const hanging = await startRpcServer({ isReady: () => new Promise(() => {}) });
    expect((await fetch(`${hanging.url}/readyz`)).status).toBe(503);
  });
});

test("/healthz says that the process lives, whatever the stores do", async () => {
  const { url } = await startRpcServer({ isReady: () => Promise.reject(new Error("boom")) });
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});
