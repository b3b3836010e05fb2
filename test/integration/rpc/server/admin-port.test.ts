import { once } from "node:events";
import { createServer } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../../../gen/grpc/health/v1/health_pb.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { openIdle } from "../../../support/attacks/attackers.ts";
import { probe } from "../../../support/attacks/caller.ts";
import { blockReads } from "../../../support/rpc/blocking-handler.ts";
import { getRequestFrame, resetFrame } from "../../../support/rpc/http2-frames.ts";
import { openRawHttp2, waitForClose } from "../../../support/rpc/raw-connection.ts";
import { connectHttp2, envelope, grpcStatus, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { getProductBytes, getProductPath } from "../../../support/rpc/rpc-clients.ts";
import { type RpcServerOptions, startRpcServer } from "../../../support/rpc/rpc-server.ts";

/** Starts a server with a port for health checks. */
async function startWithAdmin(options: RpcServerOptions = {}) {
  const server = await startRpcServer({ adminPort: 0, ...options });
  const adminUrl = server.adminUrl ?? "";
  return { ...server, adminUrl, adminPort: Number(new URL(adminUrl).port) };
}

test("the admin port serves the health pages and grpc.health.v1", async () => {
  const { adminUrl, adminPort, port } = await startWithAdmin();
  expect(adminPort).not.toBe(port);
  for (const path of ["/healthz", "/livez", "/readyz"]) expect(await probe(adminPort, path)).toBe(200);
  const health = createClient(Health, createGrpcTransport({ baseUrl: adminUrl }));
  expect((await health.check({})).status).toBe(Status.SERVING);
});

test("the admin port serves neither other pages nor calls", async () => {
  const { adminUrl, adminPort } = await startWithAdmin();
  expect(await probe(adminPort, "/")).toBe(404);
  expect(await probe(adminPort, "/.well-known/jwks.json")).toBe(404);
  const stream = openGrpc(connectHttp2(adminUrl), getProductPath);
  stream.end(envelope(getProductBytes("A")));
  expect(await grpcStatus(stream)).toBe("12");
});

test("the admin port serves grpc.health.v1 to an address whose HTTP/2 connections the main port refuses", async () => {
  const { url, port, adminUrl, adminPort } = await startWithAdmin({ limits: { resetBurst: 10 } });
  const socket = await openRawHttp2(port);
  for (let index = 0; index < 20; index += 1) {
    socket.write(Buffer.concat([getRequestFrame(2 * index + 1, "/readyz"), resetFrame(2 * index + 1)]));
  }
  await waitForClose(socket);
  const checkHealth = (baseUrl: string) =>
    createClient(Health, createGrpcTransport({ baseUrl })).check({}, { timeoutMs: 30_000 });
  await expect(checkHealth(url)).rejects.toThrow();
  expect((await checkHealth(adminUrl)).status).toBe(Status.SERVING);
  expect(await probe(adminPort)).toBe(200);
});

test("the admin port has a limit of its own, of which one address has half", async () => {
  const { port, adminPort } = await startWithAdmin({ limits: { adminConnections: 20 } });
  expect(await openIdle(adminPort, "127.0.0.2", 15)).toHaveLength(10);
  expect(await probe(adminPort)).toBe(200);
  expect(await probe(port)).toBe(200);
});

test("the admin port reports that the server stops, until calls in flight have finished", async () => {
  const { catalog, startedCount, release } = blockReads();
  const { server, url, adminPort } = await startWithAdmin({ catalog });
  const stream = openGrpc(connectHttp2(url), getProductPath);
  stream.end(envelope(getProductBytes("A")));
  const status = grpcStatus(stream);
  await expect.poll(startedCount).toBe(1);
  const closed = server.close(60_000);
  expect(await probe(adminPort, "/readyz")).toBe(503);
  expect(await probe(adminPort, "/healthz")).toBe(200);
  release();
  expect(await status).toBe("0");
  await closed;
  expect(await probe(adminPort)).toBe(0);
});

test("an admin port in use is a startup error that names it", async () => {
  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  const address = holder.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  const starting = startRpcServer({ adminPort: port });
  await expect(starting).rejects.toThrow(StartupError);
  await expect(starting).rejects.toThrow("set ADMIN_PORT to another port");
  holder.close();
});
