import type { DescMessage } from "@bufbuild/protobuf";
import type { ConnectError, ContextValues, UnaryResponse } from "@connectrpc/connect";
import { mergeNonProtocolHeaders } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, errorToJsonBytes, trailerMux } from "@connectrpc/connect/protocol-connect";
import type { ActiveCall } from "../call/active-call.ts";
import { ENVELOPE_FLAGS, encodeEnvelope } from "../protocol/envelope.ts";
import { GRPC_OK, grpcErrorTrailers, normalizeGrpcMessage } from "../protocol/grpc-status.ts";
import { jsonOptions } from "../protocol/json-options.ts";
import type { Route } from "../server/routes.ts";
import type { HttpExchange, HttpResponse } from "./http-exchange.ts";
import type { RequestFormat } from "./request-format.ts";
import type { ResponseEncoder } from "./response-encoder.ts";

const NO_TRAILERS = new Headers();

type Fields = Readonly<Record<string, string>>;

/**
 * Returns the response with a message.
 * @throws ConnectError for a message that is too large
 */
export async function messageResponse(
  encode: ResponseEncoder,
  schema: DescMessage,
  { message, header, trailer }: UnaryResponse,
  { protocol, isJson, responseType, acceptsGzip }: RequestFormat,
  { responseMetadata }: ActiveCall,
): Promise<HttpResponse> {
  const isShared = responseMetadata.cache !== undefined && responseMetadata.cache.state !== "bypass";
  const encoding = protocol !== "connect" ? "envelope" : isJson ? "json" : "proto";
  const encoded = encode(schema, message, encoding, { gzip: acceptsGzip, isShared });
  const { bytes, isGzip } = encoded instanceof Promise ? await encoded : encoded;
  const headers: Record<string, string> = { "content-type": responseType };
  for (const [name, value] of header) headers[name] = value;
  if (isGzip) headers[protocol === "connect" ? "content-encoding" : "grpc-encoding"] = "gzip";
  if (protocol === "connect") {
    for (const [name, value] of trailer) headers[`trailer-${name}`] = value;
    headers["content-length"] = String(bytes.length);
    return { status: 200, headers, body: bytes };
  }
  const trailers = { ...GRPC_OK, ...Object.fromEntries(trailer) };
  if (protocol === "grpc") return { status: 200, headers, body: bytes, trailers };
  return { status: 200, headers, body: Buffer.concat([bytes, trailersEnvelope(trailers)]) };
}

/**
 * Returns the response with an error, and with the headers and trailers that the handler set before it failed. It is
 * not compressed: most have a few hundred bytes.
 */
export function errorResponse(
  error: ConnectError,
  { protocol, responseType }: RequestFormat,
  { responseMetadata: { handler } }: ActiveCall,
): HttpResponse {
  if (protocol === "connect") {
    const body = errorToJsonBytes(error, jsonOptions);
    const headers = new Headers(handler?.header);
    mergeNonProtocolHeaders(headers, error.metadata);
    const merged = Object.fromEntries(trailerMux(headers, handler?.trailer ?? NO_TRAILERS));
    merged["content-type"] = "application/json";
    merged["content-length"] = String(body.length);
    return { status: codeToHttpStatus(error.code), headers: merged, body };
  }
  const headers = { ...Object.fromEntries(handler?.header ?? []), "content-type": responseType };
  const trailers = grpcErrorTrailers(error, handler?.trailer);
  if (protocol === "grpc") return { status: 200, headers, trailers };
  return { status: 200, headers, body: trailersEnvelope(trailers) };
}

/** Returns Connect's response to a request whose body is complete and that is admitted. */
export async function handleByConnect(
  { handle }: Route,
  exchange: HttpExchange,
  call: ActiveCall,
  contextValues: ContextValues,
  body: Buffer,
): Promise<HttpResponse> {
  const response = await handle({
    httpVersion: exchange.httpVersion,
    method: exchange.method,
    url: urlOf(exchange),
    header: headersOf(exchange),
    body: (async function* () {
      yield body;
    })(),
    signal: call.signal,
    contextValues,
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  return {
    status: response.status,
    headers: Object.fromEntries(response.header ?? []),
    body: chunks.length === 0 ? undefined : Buffer.concat(chunks),
    // Read after the body: the trailers are complete only then.
    trailers: response.trailer && normalizeGrpcMessage(Object.fromEntries(response.trailer)),
  };
}

/** Returns the URL of a request as handlers see it. */
export function urlOf({ authority = "", target }: HttpExchange): string {
  return `http://${authority}${target}`;
}

/** Returns the headers of a request as handlers see them. */
export function headersOf({ headers }: HttpExchange): Headers {
  const list = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    for (const one of typeof value === "string" ? [value] : value) list.append(name, one);
  }
  return list;
}

/** Returns the last envelope of gRPC-Web, which contains the trailers. */
function trailersEnvelope(trailers: Fields): Buffer {
  const lines = Object.entries(trailers).map(([name, value]) => `${name}: ${value}\r\n`);
  return encodeEnvelope(Buffer.from(lines.join("")), ENVELOPE_FLAGS.trailers);
}
