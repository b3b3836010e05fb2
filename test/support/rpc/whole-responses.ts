import { request as httpRequest } from "node:http";
import type { IncomingHttpHeaders } from "node:http2";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { expect } from "vitest";
import { connectHttp2 } from "./raw-http2.ts";
import { getProductPath } from "./rpc-clients.ts";

/** A request without its authority. */
export interface TestRequest {
  method?: string;
  /** Default: GetProduct. */
  path?: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
}

/** A whole response. */
export interface TestResponse {
  headers: IncomingHttpHeaders;
  body: Buffer;
  trailers: IncomingHttpHeaders;
}

/** Sends a request over HTTP/2. */
export async function overHttp2(
  url: string,
  authority: string,
  { method = "POST", path = getProductPath, headers, body }: TestRequest,
): Promise<TestResponse> {
  const session = connectHttp2(url);
  const fields = { ":method": method, ":path": path, ":authority": authority, ...headers };
  const stream = session.request(fields, { endStream: false });
  stream.on("error", () => {});
  const response: Pick<TestResponse, "headers" | "trailers"> = { headers: {}, trailers: {} };
  stream.on("response", (headers) =>
    Object.assign(response.headers, headers, { ":status": String(headers[":status"]) }),
  );
  stream.on("trailers", (trailers) => Object.assign(response.trailers, trailers));
  stream.end(body);
  return { ...response, body: await buffer(stream) };
}

/** Sends a request over HTTP/1.1. */
export function overHttp1(
  url: string,
  authority: string,
  { method = "POST", path = getProductPath, headers, body }: TestRequest,
): Promise<TestResponse> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${url}${path}`, { method, headers: { ...headers, host: authority } });
    request.on("error", reject);
    request.on("response", async (response) => {
      const body = await buffer(response);
      const headers = { ...response.headers, ":status": String(response.statusCode) };
      resolve({ headers, body, trailers: response.trailers });
    });
    request.end(body);
  });
}

/** Returns a response without what may differ: compression, chunks, and the order of trailers. */
export function normalize({ headers, body, trailers }: TestResponse) {
  const { date: _date, "transfer-encoding": _chunked, "content-length": length, ...kept } = headers;
  if (length !== undefined) expect(Number(length)).toBe(body.length);
  const hasEnvelopes = String(kept["content-type"]).startsWith("application/grpc");
  const content = kept["content-encoding"] === "gzip" ? gunzipSync(body) : body;
  // The encoding of an error or a small response is not used.
  if (hasEnvelopes) delete kept["grpc-encoding"];
  delete kept["content-encoding"];
  return {
    headers: kept,
    trailers: { ...trailers },
    body: hasEnvelopes ? envelopesOf(body) : content.toString("latin1"),
  };
}

function envelopesOf(body: Buffer): string[] {
  const envelopes: string[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    const flags = body.readUInt8(at);
    const content = body.subarray(at + 5, end);
    const text = (flags & 1 ? gunzipSync(content) : content).toString("latin1");
    // Neither the order of trailers nor their escaping matters.
    envelopes.push(
      `${flags & 0x80}: ${flags & 0x80 ? decodeURIComponent(text).split("\r\n").sort().join() : text}`,
    );
    at = end;
  }
  return envelopes;
}
