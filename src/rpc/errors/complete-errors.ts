import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { codeName } from "../interceptors/access-log.ts";
import { errorDomain } from "../interceptors/errors.ts";

/**
 * Completes the errors that Connect itself raises: malformed and oversized messages, unknown compressions,
 * methods without an implementation. Most of them never pass an interceptor; all of them abort the call's
 * signal with the error, right before they are written.
 */
export function completeErrors({ signal, requestMethod, url }: HandlerContext): void {
  signal.addEventListener("abort", onAbort);
  if (requestMethod === "GET") checkBase64(new URL(url).searchParams);
}

/** Connect decodes it by itself too, but calls its faults INTERNAL. */
function checkBase64(query: URLSearchParams): void {
  if (query.get("base64") !== "1") return;
  try {
    base64Decode(query.get("message") ?? "");
  } catch {
    throw new ConnectError("The message in the query is not base64.", Code.InvalidArgument);
  }
}

function onAbort(event: Event): void {
  if (event.target instanceof AbortSignal && event.target.reason instanceof ConnectError) {
    completeError(event.target.reason);
  }
}

/** Adds what Connect leaves out of an error of its own; others have their details. */
export function completeError(error: ConnectError): void {
  if (error.details.length > 0) return;
  // Connect calls a malformed JSON message INVALID_ARGUMENT, and these INTERNAL.
  if (error.code === Code.Internal && /^(parse binary: |decompression failed$)/.test(error.rawMessage)) {
    Object.assign(error, { code: Code.InvalidArgument });
  }
  const reason = reasons[error.code] ?? codeName(error.code);
  error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: errorDomain } });
}

/** Where Connect's only use of a code says more than its name. */
const reasons: Partial<Record<Code, string>> = {
  [Code.InvalidArgument]: "MALFORMED_REQUEST",
  [Code.ResourceExhausted]: "MESSAGE_TOO_LARGE",
  [Code.Unimplemented]: "NOT_IMPLEMENTED",
};
