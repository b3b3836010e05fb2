import type { MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError, type HandlerContext } from "@connectrpc/connect";
import {
  ConformancePayload_RequestInfoSchema,
  type Error as ErrorDefinition,
  type Header,
  type HeaderSchema,
  type StreamResponseDefinition,
  type UnaryResponseDefinition,
} from "./gen/connectrpc/conformance/v1/service_pb.ts";

/** Returns headers or query parameters as messages. */
export function headerList(fields: Headers | URLSearchParams): MessageInitShape<typeof HeaderSchema>[] {
  return [...fields].map(([name, value]) => ({ name, value: [value] }));
}

/** Sets the headers and trailers that a definition requests. */
export function appendHeaders(
  { responseHeaders, responseTrailers }: UnaryResponseDefinition | StreamResponseDefinition,
  { responseHeader, responseTrailer }: HandlerContext,
): void {
  append(responseHeader, responseHeaders);
  append(responseTrailer, responseTrailers);
}

function append(target: Headers, headers: readonly Header[]): void {
  for (const { name, value } of headers) for (const one of value) target.append(name, one);
}

/**
 * Returns the error that a definition requests.
 * @param requestInfo the request, which is appended to the details
 */
export function requestedError(
  { code, message, details }: ErrorDefinition,
  requestInfo?: MessageInitShape<typeof ConformancePayload_RequestInfoSchema>,
): ConnectError {
  const error = new ConnectError(message ?? "", code === 0 ? undefined : code);
  for (const { typeUrl, value } of details) {
    error.details.push({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value });
  }
  if (requestInfo !== undefined) {
    error.details.push({ desc: ConformancePayload_RequestInfoSchema, value: requestInfo });
  }
  return error;
}
