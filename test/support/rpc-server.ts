import http2 from "node:http2";
import { BlockList } from "node:net";
import {
  clearExtension,
  create,
  createFileRegistry,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  setExtension,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type MethodDescriptorProto,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { type ConnectRouter, createClient, type ServiceImpl } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, onTestFinished } from "vitest";
import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import {
  type MethodPolicy,
  method as methodOption,
  service as servicePolicy,
} from "../../gen/cartwright/policy/v1/policy_pb.ts";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import type { Log } from "../../src/kernel/log.ts";
import { methodPolicy } from "../../src/rpc/policy/method-policy.ts";
import { createServer, type Server, type ServerOptions } from "../../src/rpc/server/server.ts";

/** A line of the log as it was written. */
export interface LogLine {
  level: keyof Log;
  fields: Record<string, unknown>;
  message: string;
}

export interface Fixture {
  server: Server;
  url: string;
  port: number;
  lines: LogLine[];
}

export interface FixtureOptions extends Partial<ServerOptions> {
  catalog?: Partial<ServiceImpl<typeof CatalogService>>;
  order?: Partial<ServiceImpl<typeof OrderService>>;
  tracker?: Partial<ServiceImpl<typeof TrackerService>>;
}

/** Handlers that need no store: GetProduct echoes its key. */
const echo: Partial<ServiceImpl<typeof CatalogService>> = {
  getProduct: ({ key }) => ({ product: key.case === "sku" ? { sku: key.value } : { id: key.value ?? "" } }),
  listProducts: () => ({ products: [] }),
};

/** A server on a free port, closed when the test is over. */
export async function start({ catalog, order, tracker, ...options }: FixtureOptions = {}): Promise<Fixture> {
  const lines: LogLine[] = [];
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    corsOrigins: [],
    trustedProxies: new BlockList(),
    services: [CatalogService, OrderService, TrackerService],
    routes: (router: ConnectRouter) => {
      router.service(CatalogService, { ...echo, ...catalog });
      router.service(OrderService, { ...order });
      router.service(TrackerService, { ...tracker });
    },
    authenticate: undefined,
    rateLimiter: undefined,
    cache: undefined,
    encodedBytes: 2 ** 20,
    isReady: async () => ({ ready: true, checks: { store: "ok" } }),
    log: recordingLog(lines),
    ...options,
  });
  const { url, port } = await server.listen();
  onTestFinished(() => server.close(0));
  return { server, url, port, lines };
}

export function recordingLog(lines: LogLine[]): Log {
  const write = (level: keyof Log) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ level, fields, message });
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** All three protocols, over both versions of HTTP where they have them, and JSON. */
export function transports(url: string) {
  return {
    "gRPC over HTTP/2": createGrpcTransport({ baseUrl: url }),
    "gRPC-Web over HTTP/1.1": createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }),
    "gRPC-Web over HTTP/2": createGrpcWebTransport({ baseUrl: url, httpVersion: "2" }),
    "Connect over HTTP/1.1": createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
    "Connect over HTTP/2": createConnectTransport({ baseUrl: url, httpVersion: "2" }),
    "Connect JSON": createConnectTransport({ baseUrl: url, httpVersion: "1.1", useBinaryFormat: false }),
    "Connect GET": createConnectTransport({ baseUrl: url, httpVersion: "1.1", useHttpGet: true }),
  };
}

/** The names of `transports`, for tables of tests. */
export const transportNames = Object.keys(transports("http://127.0.0.1")) as (keyof ReturnType<
  typeof transports
>)[];

/** A client of another make. */
export function grpcJs(port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.enable_retries": 0,
  });
  onTestFinished(() => client.close());
  return client;
}

/** One unary call by @grpc/grpc-js. @throws ServiceError */
export function callGrpcJs<I extends DescMethodUnary["input"], O extends DescMethodUnary["output"]>(
  client: Client,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: { deadline?: Date; metadata?: Record<string, string> } = {},
): Promise<MessageShape<O>> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      create(method.input, request),
      metadata,
      options.deadline === undefined ? {} : { deadline: options.deadline },
      (error: ServiceError | null, answer?: MessageShape<O>) => {
        if (answer === undefined) reject(error);
        else resolve(answer);
      },
    );
  });
}

/** POST of a JSON body to a method. */
export function post(
  url: string,
  method: DescMethodUnary,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(pathTo(url, method), {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/** The address of a method. */
export function pathTo(url: string, method: DescMethodUnary): string {
  return `${url}/${method.parent.typeName}/${method.name}`;
}

/** A raw HTTP/2 connection, closed when the test is over. */
export function connectHttp2(
  url: string,
  options?: http2.SecureClientSessionOptions,
): http2.ClientHttp2Session {
  const session = http2.connect(url, options);
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

/** A gRPC frame around a message. */
export function frame(message: Uint8Array, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** A service as it would be if its file said something else. */
export function altered<Desc extends DescService>(
  service: Desc,
  alter: (file: FileDescriptorProto) => void,
): Desc {
  const { file } = service;
  const proto = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, file.proto));
  alter(proto);
  const registry = createFileRegistry(proto, (name) =>
    file.dependencies.find((dependency) => dependency.proto.name === name),
  );
  const found = registry.getService(service.typeName);
  if (!isVersionOf(service, found)) throw new Error(`${service.typeName} was altered away`);
  return found;
}

function isVersionOf<Desc extends DescService>(service: Desc, other: DescService | undefined): other is Desc {
  return other?.typeName === service.typeName;
}

/**
 * Returns a service with another policy for one of its methods: the changed one, or the one that is returned. Every
 * method gets its effective policy as its own, so that the changed one inherits nothing.
 */
export function withPolicy<Desc extends DescService>(
  service: Desc,
  methodName: string,
  change: (policy: MethodPolicy, method: MethodDescriptorProto) => MethodPolicy | undefined,
): Desc {
  return altered(service, (file) => {
    const proto = file.service.find(({ name }) => name === service.name);
    if (proto?.options !== undefined) clearExtension(proto.options, servicePolicy);
    for (const method of proto?.method ?? []) {
      const described = service.methods.find(({ name }) => name === method.name);
      const policy = described && methodPolicy(described);
      if (policy === undefined) throw new Error(`${method.name} has no policy`);
      method.options ??= create(MethodOptionsSchema);
      const changed = method.name === methodName ? change(policy, method) : undefined;
      setExtension(method.options, methodOption, changed ?? policy);
    }
  });
}

/** A duration as messages hold it. */
export function milliseconds(value: number): Duration {
  return create(DurationSchema, {
    seconds: BigInt(Math.floor(value / 1_000)),
    nanos: (value % 1_000) * 1_000_000,
  });
}

/** Sends a gRPC call by hand. */
export function openGrpc(
  session: http2.ClientHttp2Session,
  path: string,
  headers: Record<string, string> = {},
): http2.ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  return stream;
}

/** The status of a gRPC call by hand, as headers or trailers tell it; undefined when it ends without. */
export async function grpcStatus(stream: http2.ClientHttp2Stream): Promise<string | undefined> {
  let status: string | undefined;
  const note = (headers: http2.IncomingHttpHeaders) => {
    status ??= headers["grpc-status"]?.toString();
  };
  stream.on("response", note).on("trailers", note).resume();
  await new Promise((resolve) => stream.once("end", resolve).once("close", resolve));
  return status;
}

/** How long something takes, beside what it gives. */
export async function timed<T>(work: Promise<T>): Promise<[T, number]> {
  const startMs = performance.now();
  return [await work, performance.now() - startMs];
}

/** Where GetProduct is. */
export const getProductPath = `/${CatalogService.typeName}/GetProduct`;

/** A request of GetProduct, as bytes. */
export function getProductBytes(sku: string): Uint8Array {
  const request = create(CatalogService.method.getProduct.input, { key: { case: "sku", value: sku } });
  return toBinary(CatalogService.method.getProduct.input, request);
}

/** Holds after each test of a file that nothing was thrown which would have ended the process of a server. */
export function expectNoCrash(): void {
  const failures: unknown[] = [];
  const note = (error: unknown) => {
    failures.push(error);
  };
  beforeEach(() => {
    process.on("uncaughtExceptionMonitor", note);
  });
  afterEach(() => {
    process.off("uncaughtExceptionMonitor", note);
    expect(failures.splice(0)).toEqual([]);
  });
}

/** A call to a server that should have survived what was done to it. */
export async function expectUp(url: string): Promise<void> {
  const client = createClient(CatalogService, transports(url)["gRPC over HTTP/2"]);
  const answer = await client.getProduct({ key: { case: "sku", value: "A" } });
  expect(answer.product?.sku).toBe("A");
}
