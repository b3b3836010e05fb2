import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { conformanceService } from "../../../conformance/contract.ts";
import {
  ConformanceService,
  ServerStreamRequestSchema,
  ServerStreamResponseSchema,
  UnaryRequestSchema,
  UnaryResponseSchema,
} from "../../../conformance/gen/connectrpc/conformance/v1/service_pb.ts";
import { createConformanceService } from "../../../conformance/service.ts";
import { connectHttp2, envelope } from "../../../support/rpc/raw-http2.ts";
import { expectNoCrash, type RpcServer, startRpcServer } from "../../../support/rpc/rpc-server.ts";

const TEXT_TYPE = "application/grpc-web-text";
const origin = "https://shop.example";

let server: RpcServer;

expectNoCrash();

beforeEach(async () => {
  server = await startRpcServer({
    services: [conformanceService],
    corsOrigins: [origin],
    routes: (router) => router.service(conformanceService, createConformanceService()),
  });
});

/** Posts a body as the client of grpc-web does in its text mode. */
function post(method: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${server.url}/${ConformanceService.typeName}/${method}`, {
    method: "POST",
    headers: { "content-type": TEXT_TYPE, accept: TEXT_TYPE, "x-grpc-web": "1", ...headers },
    body,
  });
}

const unaryBytes = (request: MessageInitShape<typeof UnaryRequestSchema>) =>
  envelope(toBinary(UnaryRequestSchema, create(UnaryRequestSchema, request)));
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

/** Decodes base64 whose pieces have their own padding: as goog.crypt.base64 does, group by group. */
function decodeText(text: string): Buffer {
  expect(text.length % 4).toBe(0);
  return Buffer.concat((text.match(/.{4}/g) ?? []).map((group) => Buffer.from(group, "base64")));
}

/** Returns the messages and the trailers of a response. */
function parse(body: Buffer): { messages: Buffer[]; trailers: Record<string, string> } {
  const messages: Buffer[] = [];
  let trailers: Record<string, string> = {};
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    const content = body.subarray(at + 5, end);
    if (body.readUInt8(at) === 0x80) {
      const lines = content.toString().trim().split("\r\n");
      trailers = Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
    } else messages.push(content);
    at = end;
  }
  return { messages, trailers };
}

describe("a unary call", () => {
  const request = unaryBytes({
    responseDefinition: {
      responseHeaders: [{ name: "x-header", value: ["a"] }],
      responseTrailers: [{ name: "x-trailer", value: ["b"] }],
      response: { case: "responseData", value: Buffer.from("four") },
    },
  });

  test.each([TEXT_TYPE, `${TEXT_TYPE}+proto`])("%s gets a response in base64", async (type) => {
    const response = await post("Unary", base64(request), { "content-type": type, origin });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(`${TEXT_TYPE}+proto`);
    expect(response.headers.get("x-header")).toBe("a");
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
    const { messages, trailers } = parse(decodeText(await response.text()));
    const data = messages.map((one) => fromBinary(UnaryResponseSchema, one).payload?.data ?? []);
    expect(data.map((bytes) => Buffer.from(bytes).toString())).toEqual(["four"]);
    expect(trailers).toEqual({ "grpc-status": "0", "x-trailer": "b" });
  });

  test.each([1, 2, 3, 4, 5, 7, 50])("pieces of %d bytes with their own padding are read", async (length) => {
    const pieces = Array.from({ length: Math.ceil(request.length / length) }, (_, index) =>
      base64(request.subarray(index * length, (index + 1) * length)),
    );
    const response = await post("Unary", pieces.join(""));
    const { messages, trailers } = parse(decodeText(await response.text()));
    expect(trailers["grpc-status"]).toBe("0");
    expect(messages).toHaveLength(1);
  });

  test("a request that arrives in pieces of three characters is read", async () => {
    const stream = connectHttp2(server.url).request({
      ":method": "POST",
      ":path": `/${ConformanceService.typeName}/Unary`,
      "content-type": TEXT_TYPE,
    });
    for (const piece of base64(request).match(/.{1,3}/g) ?? []) stream.write(piece);
    stream.end();
    let text = "";
    for await (const chunk of stream) text += chunk;
    expect(parse(decodeText(text)).trailers["grpc-status"]).toBe("0");
  });

  test.each(["!!!!", "AAAAA", "AA=A", "====", "AAA\n"])("the body %j is INVALID_ARGUMENT", async (body) => {
    const response = await post("Unary", body);
    const { trailers } = parse(decodeText(await response.text()));
    expect(trailers["grpc-status"]).toBe(String(Code.InvalidArgument));
    expect(decodeURI(trailers["grpc-message"] ?? "")).toContain("not valid base64");
  });

  test("an error has its code, message and trailers", async () => {
    const failing = unaryBytes({
      responseDefinition: {
        responseTrailers: [{ name: "x-trailer", value: ["b"] }],
        response: { case: "error", value: { code: Code.Aborted, message: "Stale." } },
      },
    });
    const response = await post("Unary", base64(failing));
    const { messages, trailers } = parse(decodeText(await response.text()));
    expect(messages).toEqual([]);
    expect(trailers).toMatchObject({ "grpc-status": "10", "grpc-message": "Stale.", "x-trailer": "b" });
  });

  test("a deadline is enforced", async () => {
    const slow = unaryBytes({ responseDefinition: { responseDelayMs: 60_000 } });
    const response = await post("Unary", base64(slow), { "grpc-timeout": "20m" });
    const { trailers } = parse(decodeText(await response.text()));
    expect(trailers["grpc-status"]).toBe(String(Code.DeadlineExceeded));
  });
});

test("each message of a stream can be decoded when it arrives", async () => {
  const definition = { responseData: [Buffer.from("one"), Buffer.from("three"), Buffer.from("seven")] };
  const request = create(ServerStreamRequestSchema, { responseDefinition: definition });
  const response = await post("ServerStream", base64(envelope(toBinary(ServerStreamRequestSchema, request))));
  expect(response.headers.get("content-type")).toBe(`${TEXT_TYPE}+proto`);
  const text = await response.text();
  // Padding occurs before the end.
  expect(text.slice(0, -4)).toContain("=");
  const { messages, trailers } = parse(decodeText(text));
  expect(
    messages.map((one) =>
      Buffer.from(fromBinary(ServerStreamResponseSchema, one).payload?.data ?? []).toString(),
    ),
  ).toEqual(["one", "three", "seven"]);
  expect(trailers["grpc-status"]).toBe("0");
});

test("a page may send the headers of grpc-web", async () => {
  const response = await fetch(`${server.url}/${ConformanceService.typeName}/Unary`, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,x-grpc-web,x-user-agent,grpc-timeout",
    },
  });
  const allowed = response.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
  expect(allowed).toEqual(
    expect.arrayContaining(["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"]),
  );
});
