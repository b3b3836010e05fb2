import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { codeName, ERROR_DOMAIN } from "./connect-errors.ts";

/**
 * Completes the errors that Connect itself raises: malformed and oversized messages, unknown compressions,
 * methods without an implementation. Most of them never pass an interceptor; all of them abort the call's
 * signal with the error, right before they are written.
 */
export function completeErrors(
  { signal, requestMethod, url }: HandlerContext,
  complete: (error: ConnectError) => void,
): void {
  signal.addEventListener("abort", () => {
    if (signal.reason instanceof ConnectError) complete(signal.reason);
  });
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

/** Corrects the code of malformed messages: Connect responds with INVALID_ARGUMENT to JSON, but with INTERNAL to these. */
export function correctCode(error: ConnectError): void {
  if (error.code === Code.Internal && /^(parse binary: |decompression failed$)/.test(error.rawMessage)) {
    Object.assign(error, { code: Code.InvalidArgument });
  }
}

/** Adds the ErrorInfo that Connect's own errors lack. */
export function addErrorInfo(
  error: ConnectError,
  reason = CONNECT_REASONS[error.code] ?? codeName(error.code),
): void {
  error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: ERROR_DOMAIN } });
}

/** The codes that Connect raises for one reason only. */
const CONNECT_REASONS: Partial<Record<Code, string>> = {
  [Code.InvalidArgument]: "MALFORMED_REQUEST",
  [Code.ResourceExhausted]: "MESSAGE_TOO_LARGE",
  [Code.Unimplemented]: "NOT_IMPLEMENTED",
};
