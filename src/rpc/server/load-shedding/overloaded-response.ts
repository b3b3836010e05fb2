import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { AppError } from "../../../kernel/errors.ts";
import { ceilSeconds, toConnectError } from "../../errors/connect-errors.ts";
import type { HttpResponse } from "../../fast-path/http-exchange.ts";
import { protocolOf } from "../../protocol/content-type.ts";
import { ENVELOPE_FLAGS, encodeEnvelope } from "../../protocol/envelope.ts";
import { grpcErrorTrailers } from "../../protocol/grpc-status.ts";

/** When the caller of a rejected call should retry, in milliseconds. */
const RETRY_AFTER_MS = 1_000;

/** The reason to reject or stop a call for others. */
export const overloaded = new AppError(
  "unavailable",
  `The service is overloaded. Retry in ${ceilSeconds(RETRY_AFTER_MS)} s.`,
  { reason: "OVERLOADED", retryAfterMs: RETRY_AFTER_MS },
);

/** The error of a rejected call, built once: rejecting must cost a small part of what a call does. */
export const overloadedError = toConnectError(overloaded);

const retryAfter = { "retry-after": String(ceilSeconds(RETRY_AFTER_MS)) };
const grpcHeaders = { ...retryAfter, ...grpcErrorTrailers(overloadedError) };
const errorJson = errorToJson(overloadedError, undefined);
const unaryBody = Buffer.from(JSON.stringify(errorJson));
const unaryHeaders = {
  ...retryAfter,
  "content-type": "application/json",
  "content-length": String(unaryBody.length),
};
const streamBody = encodeEnvelope(
  Buffer.from(JSON.stringify({ error: errorJson })),
  ENVELOPE_FLAGS.endOfStream,
);

/**
 * Returns the response to a rejected call in its protocol: UNAVAILABLE with a delay before a retry.
 * @param contentType of the request, none of which has been read
 */
export function overloadedResponse(contentType = ""): HttpResponse {
  // A gRPC response without messages carries the status in its headers ("Trailers-Only").
  if (protocolOf(contentType) !== "connect") {
    return { status: 200, headers: { ...grpcHeaders, "content-type": contentType } };
  }
  if (contentType.startsWith("application/connect+")) {
    return { status: 200, headers: { ...retryAfter, "content-type": contentType }, body: streamBody };
  }
  return { status: 503, headers: unaryHeaders, body: unaryBody };
}
