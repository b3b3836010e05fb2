import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, type Server } from "node:net";
import { buffer } from "node:stream/consumers";
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";

/** A failure of a request, before it reaches the service or after the service has handled it. */
export type Fault =
  | "503"
  | "reset before"
  | "reset after"
  | "silence"
  | { code: string; status: number; retryMs?: number };

/** A request as the proxy received it. */
export interface RecordedRequest {
  method: string;
  path: string;
  header(name: string): string | undefined;
  message<Desc extends DescMessage>(schema: Desc): MessageShape<Desc>;
}

/** A proxy over HTTP/1.1 that records requests and fails some of them. */
export interface FlakyProxy {
  url: string;
  /** The requests since the last `failNext`. */
  requests: RecordedRequest[];
  /** Makes the next requests fail, one fault each. */
  failNext(...faults: Fault[]): void;
  close(): Promise<unknown>;
}

/** Starts a proxy before a service. */
export async function startFlakyProxy(serviceUrl: string): Promise<FlakyProxy> {
  const faults: Fault[] = [];
  const requests: RecordedRequest[] = [];
  const server = createServer(async (incoming, response) => {
    const body = await buffer(incoming);
    requests.push(record(incoming, body));
    const fault = faults.shift();
    if (fault === "silence") return;
    if (fault === "reset before") response.socket?.resetAndDestroy();
    else if (fault === "503") response.writeHead(503).end("busy");
    else if (typeof fault === "object") sendError(response, fault);
    else await forward(serviceUrl, incoming, body, response, fault === "reset after");
  });
  const url = await listen(server);
  return {
    url,
    requests,
    failNext: (...next: Fault[]) => {
      requests.length = 0;
      faults.splice(0, faults.length, ...next);
    },
    close: () => {
      server.closeAllConnections();
      return new Promise<unknown>((resolve) => server.close(resolve));
    },
  };
}

/** Starts a TCP proxy that resets the first `failures` connections when they send data. */
export async function startFlakyTcpProxy(serviceUrl: string, failures: number) {
  const { hostname, port } = new URL(serviceUrl);
  let connections = 0;
  const server = createTcpServer((client) => {
    client.on("error", () => {});
    connections++;
    if (connections <= failures) {
      client.once("data", () => client.resetAndDestroy());
      return;
    }
    const service = connect(Number(port), hostname);
    service.on("error", () => client.destroy());
    client.on("close", () => service.destroy());
    client.pipe(service).pipe(client);
  });
  const url = await listen(server);
  return { url, connections: () => connections, close: () => void server.close() };
}

/** Listens on a free port. @returns the URL */
export function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(`http://127.0.0.1:${typeof address === "object" ? address?.port : address}`);
    });
  });
}

function record({ method = "", url = "", headers }: IncomingMessage, body: Buffer): RecordedRequest {
  const { pathname, searchParams } = new URL(url, "http://service");
  const sent = method === "GET" ? Buffer.from(searchParams.get("message") ?? "", "base64url") : body;
  return {
    method,
    path: pathname,
    header: (name) => headers[name]?.toString(),
    message: (schema) => fromBinary(schema, sent),
  };
}

function sendError(
  response: ServerResponse,
  fault: { code: string; status: number; retryMs?: number },
): void {
  const { code, status, retryMs = 0 } = fault;
  const retryDelay = durationFromMs(retryMs);
  const info = toBinary(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }));
  const details = [{ type: "google.rpc.RetryInfo", value: Buffer.from(info).toString("base64") }];
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ code, message: "Test error.", details: retryMs > 0 ? details : [] }));
}

function forward(
  serviceUrl: string,
  { method, url = "", headers }: IncomingMessage,
  body: Buffer,
  response: ServerResponse,
  loseResponse: boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const forwarded = request(new URL(url, serviceUrl), { method, headers }, async (received) => {
      const content = await buffer(received);
      if (loseResponse) response.socket?.resetAndDestroy();
      else response.writeHead(received.statusCode ?? 500, received.headers).end(content);
      resolve();
    });
    forwarded.on("error", reject);
    forwarded.end(body);
  });
}
