import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { errorDomain } from "./errors.ts";

/**
 * Completes the errors that Connect itself raises: malformed and oversized messages, unknown compressions,
 * methods without an implementation. Most of them never pass an interceptor; all of them abort the call's
 * signal with the error, right before they are written. This is a request gate.
 */
export function completeRefusals({ signal }: HandlerContext): void {
  signal.addEventListener("abort", onAbort);
}

function onAbort(event: Event): void {
  if (!(event.target instanceof AbortSignal)) return;
  const error: unknown = event.target.reason;
  if (!(error instanceof ConnectError) || error.details.length > 0) return;
  // Connect calls a malformed JSON message INVALID_ARGUMENT, and these INTERNAL.
  if (error.code === Code.Internal && /^(parse binary: |decompression failed$)/.test(error.rawMessage)) {
    Object.assign(error, { code: Code.InvalidArgument });
  }
  const reason = reasons[error.code] ?? "INTERNAL";
  error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: errorDomain } });
}

const reasons: Partial<Record<Code, string>> = {
  [Code.Canceled]: "CANCELLED",
  [Code.InvalidArgument]: "MALFORMED_REQUEST",
  [Code.ResourceExhausted]: "MESSAGE_TOO_LARGE",
  [Code.Unimplemented]: "NOT_IMPLEMENTED",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
};
