import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { codeName, ERROR_DOMAIN } from "./connect-errors.ts";

/**
 * Completes the errors that Connect itself raises: malformed and oversized messages, unknown compressions,
 * methods without an implementation. Most of them never pass an interceptor; all of them abort the call's
 * signal with the error, right before they are written.
 */
export function completeErrors({ signal, requestMethod, url }: HandlerContext): void {
  signal.addEventListener("abort", onAbort);
  if (requestMethod === "GET") assertBase64(new URL(url).searchParams);
}

/** Rejects malformed base64 with the right code: Connect decodes it too, but responds with INTERNAL. */
function assertBase64(query: URLSearchParams): void {
  if (query.get("base64") !== "1") return;
  try {
    base64Decode(query.get("message") ?? "");
  } catch {
    throw new ConnectError("The query parameter message is not valid base64.", Code.InvalidArgument);
  }
}

function onAbort(event: Event): void {
  if (event.target instanceof AbortSignal && event.target.reason instanceof ConnectError) {
    completeError(event.target.reason);
  }
}

/** Adds the ErrorInfo that Connect's own errors lack. Errors with details stay as they are. */
export function completeError(error: ConnectError): void {
  if (error.details.length > 0) return;
  // Connect responds with INVALID_ARGUMENT to malformed JSON, but with INTERNAL to these.
  if (error.code === Code.Internal && /^(parse binary: |decompression failed$)/.test(error.rawMessage)) {
    Object.assign(error, { code: Code.InvalidArgument });
  }
  const reason = CONNECT_REASONS[error.code] ?? codeName(error.code);
  error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: ERROR_DOMAIN } });
}

/** The codes that Connect raises for one reason only. */
const CONNECT_REASONS: Partial<Record<Code, string>> = {
  [Code.InvalidArgument]: "MALFORMED_REQUEST",
  [Code.ResourceExhausted]: "MESSAGE_TOO_LARGE",
  [Code.Unimplemented]: "NOT_IMPLEMENTED",
};
