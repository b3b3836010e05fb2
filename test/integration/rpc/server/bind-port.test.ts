import { createServer } from "node:http";
import { connect } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { type BoundPort, bindPort } from "../../../../src/rpc/server/startup/bind-port.ts";
import { silentLog } from "../../../support/log.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const UNPRIVILEGED_UID = 65_534;
const log = silentLog;
const host = "127.0.0.1";
const bound: BoundPort[] = [];
afterEach(async () => {
  for (const one of bound.splice(0)) await one.close();
});

async function bind(): Promise<BoundPort & { url: string }> {
  const one = await bindPort({ log, host, port: 0 });
  bound.push(one);
  return { ...one, url: `http://${host}:${one.port}` };
}

const messageOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "bound",
    (error: unknown) => {
      expect(error).toBeInstanceOf(StartupError);
      return error instanceof Error ? error.message : "";
    },
  );

test("a port in use is reported with the command that finds its process and the variable to set", async () => {
  const { port } = await bind();
  const message = await messageOf(bindPort({ log, host, port, portVariable: "ADMIN_PORT" }));
  expect(message).toContain(`Cannot listen on ${host}:${port}: the port is in use.`);
  expect(message).toMatch(/(ss|lsof) -.*, or set ADMIN_PORT to another port\.$/);
});

test.each(["192.0.2.1", "2001:db8::1"])(
  "%s, which no interface has, is reported with HOST",
  async (other) => {
    expect(await messageOf(bindPort({ log, host: other, port: 0 }))).toMatch(
      /is not an address of this machine\. Set HOST to 127\.0\.0\.1 /,
    );
  },
);

test("a host without an address is reported with HOST", async () => {
  expect(await messageOf(bindPort({ log, host: "no..name", port: 0 }))).toMatch(/no\.\.name.*Set HOST to/);
});

test("a privileged port is reported with PORT to a user without privileges", async ({ skip }) => {
  const uid = process.geteuid?.();
  if (uid === undefined) skip("users have no numbers on this platform");
  if (uid === 0) process.seteuid?.(UNPRIVILEGED_UID);
  onTestFinished(() => {
    if (uid === 0) process.seteuid?.(0);
  });
  expect(await messageOf(bindPort({ log, host, port: 1 }))).toBe(
    `Cannot listen on ${host}:1: ports below 1024 need the privileges of root. Set PORT to a higher port.`,
  );
});

test("until calls are served, calls get 503 with Retry-After, and probes report a process that runs and is not ready", async () => {
  const { url } = await bind();
  const response = await fetch(`${url}/cartwright.catalog.v1.CatalogService/ListProducts`, {
    method: "POST",
  });
  expect(response.status).toBe(503);
  expect(response.headers.get("retry-after")).toBe("2");
  expect(await response.json()).toMatchObject({ code: "unavailable", message: /starting/ });
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { ready: false, checks: { server: "starting" } }]);
  for (const path of ["/healthz", "/livez"]) {
    const alive = await fetch(`${url}${path}`);
    expect([alive.status, await alive.text()]).toEqual([200, "ok\n"]);
  }
});

test("a gRPC client gets UNAVAILABLE until calls are served, and then a response over a new connection", async () => {
  const boundPort = await bind();
  const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: boundPort.url }));
  const call = () => catalog.getProduct({ key: { case: "sku", value: "A" } });
  for (let attempt = 0; attempt < 3; attempt++) {
    expect(await call().catch(ConnectError.from)).toMatchObject({ code: Code.Unavailable });
  }
  await startRpcServer({ boundPort });
  await expect.poll(() => call().then(({ product }) => product?.sku, String)).toBe("A");
});

test("until calls are served, connections beyond 256 are closed", async () => {
  const { port } = await bind();
  let [opened, closed] = [0, 0];
  const sockets = Array.from({ length: 300 }, () =>
    connect(port, host)
      .on("connect", () => opened++)
      .on("error", () => {})
      .on("close", () => closed++),
  );
  await expect.poll(() => [opened, closed]).toEqual([300, 44]);
  for (const socket of sockets) socket.destroy();
});

test("the server takes the port over without an interval in which connections are rejected", async () => {
  const { url, serve } = await bind();
  const server = createServer((_, response) => response.writeHead(200, { connection: "close" }).end());
  onTestFinished(() => {
    server.close();
  });
  const statuses: number[] = [];
  for (let request = 0; request < 200; request++) {
    const taking = request === 100 ? serve(server) : undefined;
    statuses.push((await fetch(url)).status);
    await taking;
  }
  expect(statuses.slice(0, 100)).toEqual(Array.from({ length: 100 }, () => 503));
  expect(statuses.slice(101)).toEqual(Array.from({ length: 99 }, () => 200));
});

test("a server serves a port that is bound already, and closes it", async () => {
  const boundPort = await bindPort({ log, host, port: 0 });
  const { url, server, port } = await startRpcServer({ boundPort });
  expect(port).toBe(boundPort.port);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  await server.close(0);
  await expect(fetch(`${url}/readyz`)).rejects.toThrow();
  bound.push(await bindPort({ log, host, port }));
});
