import { BlockList } from "node:net";
import { type ConnectRouter, createClient, type ServiceImpl } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, onTestFinished } from "vitest";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../gen/cartwright/order/v1/order_service_pb.ts";
import { TrackerService } from "../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import type { Log } from "../../../src/kernel/log.ts";
import { createServer, type Server, type ServerOptions } from "../../../src/rpc/server/server.ts";
import { transports } from "./rpc-clients.ts";

/** One line of the log. */
export interface LogLine {
  level: keyof Log;
  fields: Record<string, unknown>;
  message: string;
}

/** A running server without stores, and its log. */
export interface RpcServer {
  server: Server;
  url: string;
  port: number;
  adminUrl: string | undefined;
  lines: LogLine[];
}

export interface RpcServerOptions extends Partial<ServerOptions> {
  catalog?: Partial<ServiceImpl<typeof CatalogService>>;
  order?: Partial<ServiceImpl<typeof OrderService>>;
  tracker?: Partial<ServiceImpl<typeof TrackerService>>;
}

/** Handlers that need no store: GetProduct echoes its key. */
const echoHandlers: Partial<ServiceImpl<typeof CatalogService>> = {
  getProduct: ({ key }) => ({ product: key.case === "sku" ? { sku: key.value } : { id: key.value ?? "" } }),
  listProducts: () => ({ products: [] }),
};

/** Starts a server on a free port, and closes it when the test is over. */
export async function startRpcServer(options: RpcServerOptions = {}): Promise<RpcServer> {
  const { catalog, order, tracker, ...serverOptions } = options;
  const lines: LogLine[] = [];
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    corsOrigins: [],
    trustedProxies: new BlockList(),
    services: [CatalogService, OrderService, TrackerService],
    routes: (router: ConnectRouter) => {
      router.service(CatalogService, { ...echoHandlers, ...catalog });
      router.service(OrderService, { ...order });
      router.service(TrackerService, { ...tracker });
    },
    authenticate: undefined,
    rateLimiter: undefined,
    cache: undefined,
    encodedBytes: 2 ** 20,
    isReady: async () => ({ ready: true, checks: { store: "ok" } }),
    log: recordingLog(lines),
    ...serverOptions,
  });
  const { url, port, adminUrl } = await server.listen();
  onTestFinished(() => server.close(0));
  return { server, url, port, adminUrl, lines };
}

/** Returns a log that appends its lines to an array. */
export function recordingLog(lines: LogLine[]): Log {
  const write = (level: keyof Log) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ level, fields, message });
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** Checks after each test of a file that nothing was thrown that would end the process of a server. */
export function expectNoCrash(): void {
  const failures: unknown[] = [];
  const record = (error: unknown) => {
    failures.push(error);
  };
  beforeEach(() => {
    process.on("uncaughtExceptionMonitor", record);
  });
  afterEach(() => {
    process.off("uncaughtExceptionMonitor", record);
    expect(failures.splice(0)).toEqual([]);
  });
}

/** Checks that a server still serves calls. */
export async function expectServing(url: string): Promise<void> {
  const client = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
  const response = await client.getProduct({ key: { case: "sku", value: "A" } });
  expect(response.product?.sku).toBe("A");
}
