import { Code, ConnectError } from "@connectrpc/connect";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { truncated } from "../../kernel/errors.ts";
import type { ErrorTranslator } from "../errors/error-translator.ts";
import type { HttpResponse } from "../fast-path/http-exchange.ts";
import { jsonOptions } from "../protocol/json-options.ts";
import type { Route } from "./routes.ts";

/**
 * The content types of callers that get text instead of JSON. Clients of gRPC, and of media, read the status alone; the
 * clients of connectconformance check what they have not read of an error in JSON.
 */
const TEXT_CALLER_TYPE = /^(?:application\/grpc|(?:image|audio|video|font)\/)/i;
/** The query of an empty message. Escaped, because curl takes braces for a list. */
const EMPTY_QUERY = "?encoding=json&message=%7B%7D";
/** Longest part of a caller's header that a message repeats, in UTF-16 units. */
const MAX_SHOWN_LENGTH = 100;

const GRPC_TYPES = "application/grpc, application/grpc-web, application/grpc-web-text";
const UNARY_TYPES = `application/json, application/proto, ${GRPC_TYPES}`;
const STREAM_TYPES = `application/connect+json, application/connect+proto, ${GRPC_TYPES}`;

/** The parts of a request that decide whether it can be served. */
interface UnsupportedRequest {
  readonly method?: string | undefined;
  readonly headers: { readonly "content-type"?: string | undefined };
}

/**
 * Returns the response to a request that Connect rejects with an HTTP status alone: an error that says what to send, in
 * JSON for callers that may read it.
 * The code is the one to which Connect's clients map these statuses.
 * @param status 405 for another method, 415 for another content type, 505 for HTTP/1.1
 * @returns undefined for other statuses
 */
export function unsupportedResponse(
  status: number,
  request: UnsupportedRequest,
  route: Route,
  errors: ErrorTranslator,
): HttpResponse | undefined {
  const description = describe(status, request, route);
  if (description === undefined) return undefined;
  if (request.method === "HEAD") return { status, headers: description.headers };
  const isJson = !TEXT_CALLER_TYPE.test(request.headers["content-type"] ?? "");
  const body = isJson ? errorJson(description, errors) : Buffer.from(`${description.message}\n`);
  const headers = {
    "content-type": isJson ? "application/json" : "text/plain; charset=utf-8",
    "content-length": String(body.length),
  };
  return { status, headers: { ...headers, ...description.headers }, body };
}

function errorJson({ message, reason }: Description, errors: ErrorTranslator): Uint8Array {
  const error = new ConnectError(message, Code.Unknown);
  errors.complete(error, reason);
  return errorToJsonBytes(error, jsonOptions);
}

interface Description {
  reason: string;
  message: string;
  headers: Readonly<Record<string, string>>;
}

function describe(status: number, request: UnsupportedRequest, route: Route): Description | undefined {
  const { method, handle, isGetAllowed } = route;
  const isUnary = method.methodKind === "unary";
  const httpMethod = truncated(request.method ?? "", MAX_SHOWN_LENGTH);
  if (status === 405) {
    const post = isUnary ? "POST with -H 'content-type: application/json'" : "POST";
    const alternative = isGetAllowed && isUnary ? `, or GET with ${EMPTY_QUERY}` : "";
    return {
      reason: "METHOD_NOT_ALLOWED",
      message: `${method.name} cannot be called by ${httpMethod}. Send ${post}${alternative}.`,
      headers: { allow: handle.allowedMethods.join(", ") },
    };
  }
  if (status === 415 && httpMethod === "GET") {
    const message = `${method.name} by GET needs a query such as ${EMPTY_QUERY}; encoding is json or proto.`;
    return { reason: "UNSUPPORTED_MEDIA_TYPE", message, headers: {} };
  }
  if (status === 415) {
    const type = request.headers["content-type"];
    const sent =
      type === undefined
        ? "The content type is missing"
        : `Unsupported content type: ${truncated(type, MAX_SHOWN_LENGTH)}`;
    const expected = isUnary
      ? "Send JSON with -H 'content-type: application/json'"
      : "It is streaming: send enveloped messages as application/connect+json, or call it by gRPC";
    const types = isUnary ? UNARY_TYPES : STREAM_TYPES;
    return {
      reason: "UNSUPPORTED_MEDIA_TYPE",
      message: `${sent}. ${expected}. Supported: ${types}.`,
      headers: { "accept-post": types },
    };
  }
  if (status !== 505) return undefined;
  return {
    reason: "HTTP_VERSION_UNSUPPORTED",
    message: `${method.name} streams in both directions, which needs HTTP/2.`,
    // A caller that expects both directions may wait for a response before it has sent its request.
    headers: { connection: "close" },
  };
}
