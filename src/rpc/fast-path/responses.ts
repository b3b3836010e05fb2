import type { DescMessage } from "@bufbuild/protobuf";
import type { ConnectError, ContextValues, UnaryResponse } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import type { ActiveCall } from "../call/active-call.ts";
import { jsonOptions, type Route } from "../server/routes.ts";
import { grpcOk, grpcStatusOf } from "./grpc-status.ts";
import type { HttpExchange, HttpResponse } from "./http-exchange.ts";
import type { RequestFormat } from "./request-format.ts";
import { framed, type ResponseEncoder } from "./response-encoder.ts";

type Fields = Readonly<Record<string, string>>;

/** What marks the last frame of gRPC-Web, which has the trailers in it. */
const TRAILERS = 0x80;

/** An answer with a message. @throws ConnectError for one that is too large */
export async function messageReply(
  encode: ResponseEncoder,
  schema: DescMessage,
  { message, header, trailer }: UnaryResponse,
  { protocol, isJson, contentType, gzip }: RequestFormat,
  { cached }: ActiveCall,
): Promise<HttpResponse> {
  const isShared = cached !== undefined && cached.state !== "bypass";
  const encoding = protocol !== "connect" ? "frame" : isJson ? "json" : "proto";
  const made = encode(schema, message, encoding, { gzip, isShared });
  const { bytes, isGzip } = made instanceof Promise ? await made : made;
  const headers: Record<string, string> = { "content-type": contentType };
  for (const [name, value] of header) headers[name] = value;
  if (isGzip) headers[protocol === "connect" ? "content-encoding" : "grpc-encoding"] = "gzip";
  if (protocol === "connect") {
    for (const [name, value] of trailer) headers[`trailer-${name}`] = value;
    headers["content-length"] = String(bytes.length);
    return { status: 200, headers, body: bytes };
  }
  const trailers = { ...grpcOk, ...Object.fromEntries(trailer) };
  if (protocol === "grpc") return { status: 200, headers, body: bytes, trailers };
  return { status: 200, headers, body: Buffer.concat([bytes, trailerFrame(trailers)]) };
}

/** An answer that says what is wrong, in a few hundred bytes mostly: it is not compressed. */
export function errorReply(error: ConnectError, { protocol, contentType }: RequestFormat): HttpResponse {
  if (protocol === "connect") {
    const body = errorToJsonBytes(error, jsonOptions);
    const headers = { "content-type": "application/json", "content-length": String(body.length) };
    return {
      status: codeToHttpStatus(error.code),
      headers: { ...Object.fromEntries(error.metadata), ...headers },
      body,
    };
  }
  const headers = { "content-type": contentType };
  const trailers = grpcStatusOf(error);
  if (protocol === "grpc") return { status: 200, headers, trailers };
  return { status: 200, headers, body: trailerFrame(trailers) };
}

/** Connect's answer to a request of which all is here, behind the gate. */
export async function universalReply(
  { handle }: Route,
  exchange: HttpExchange,
  call: ActiveCall,
  contextValues: ContextValues,
  body: Buffer,
): Promise<HttpResponse> {
  const answer = await handle({
    httpVersion: exchange.httpVersion,
    method: exchange.method,
    url: urlOf(exchange),
    header: headerOf(exchange),
    body: (async function* () {
      yield body;
    })(),
    signal: call.signal,
    contextValues,
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body ?? []) chunks.push(chunk);
  const reply = {
    status: answer.status,
    headers: Object.fromEntries(answer.header ?? []),
    body: chunks.length === 0 ? undefined : Buffer.concat(chunks),
  };
  // Complete once the body is.
  return answer.trailer === undefined
    ? reply
    : { ...reply, trailers: decodeGrpcMessage(Object.fromEntries(answer.trailer)) };
}

/** What Connect escapes that need not be, and that some clients would show as it is. */
export function decodeGrpcMessage(trailers: Fields): Fields {
  const message = trailers["grpc-message"];
  return message === undefined
    ? trailers
    : { ...trailers, "grpc-message": encodeURI(decodeURIComponent(message)) };
}

/** The address of a request, as handlers are told it. */
export function urlOf({ authority = "", target }: HttpExchange): string {
  return `http://${authority}${target}`;
}

/** The headers of a request, as handlers are told them. */
export function headerOf({ headers }: HttpExchange): Headers {
  const header = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    for (const one of typeof value === "string" ? [value] : value) header.append(name, one);
  }
  return header;
}

function trailerFrame(trailers: Fields): Buffer {
  const lines = Object.entries(trailers).map(([name, value]) => `${name}: ${value}\r\n`);
  return framed(Buffer.from(lines.join("")), TRAILERS);
}
