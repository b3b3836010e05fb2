import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect, createServer as createTcpServer, type Server } from "node:net";
import { buffer } from "node:stream/consumers";
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";

/** What goes wrong with a request: before the shop has it, or once the shop has done it. */
export type Fault =
  | "503"
  | "reset before"
  | "reset after"
  | "silence"
  | { code: string; status: number; retryMs?: number };

export interface RecordedRequest {
  method: string;
  path: string;
  header(name: string): string | undefined;
  message<Desc extends DescMessage>(schema: Desc): MessageShape<Desc>;
}

/** A proxy before a shop, over HTTP/1.1, that goes wrong as it is told. */
export async function startFlakyProxy(shopUrl: string) {
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
    else await forward(shopUrl, incoming, body, response, fault === "reset after");
  });
  const url = await listen(server);
  return {
    url,
    requests,
    /** The next requests go wrong, one by one; those after them do not. */
    goWrong: (...next: Fault[]) => {
      requests.length = 0;
      faults.splice(0, faults.length, ...next);
    },
    close: () => {
      server.closeAllConnections();
      return new Promise<unknown>((resolve) => server.close(resolve));
    },
  };
}

/** A proxy of bytes, for any protocol. The first `broken` connections are reset once the client speaks. */
export async function startFlakyTcpProxy(shopUrl: string, broken: number) {
  const { hostname, port: shopPort } = new URL(shopUrl);
  let connections = 0;
  const server = createTcpServer((client) => {
    client.on("error", () => {});
    connections++;
    if (connections <= broken) {
      client.once("data", () => client.resetAndDestroy());
      return;
    }
    const shop = connect(Number(shopPort), hostname);
    shop.on("error", () => client.destroy());
    client.on("close", () => shop.destroy());
    client.pipe(shop).pipe(client);
  });
  const url = await listen(server);
  return { url, connections: () => connections, close: () => void server.close() };
}

/** @returns the address it listens at */
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
  const { pathname, searchParams } = new URL(url, "http://shop");
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
  response.end(JSON.stringify({ code, message: "As the test says.", details: retryMs > 0 ? details : [] }));
}

function forward(
  shopUrl: string,
  { method, url = "", headers }: IncomingMessage,
  body: Buffer,
  response: ServerResponse,
  loseAnswer: boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onward = request(new URL(url, shopUrl), { method, headers }, async (answer) => {
      const content = await buffer(answer);
      if (loseAnswer) response.socket?.resetAndDestroy();
      else response.writeHead(answer.statusCode ?? 500, answer.headers).end(content);
      resolve();
    });
    onward.on("error", reject);
    onward.end(body);
  });
}
