import { randomUUID } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { methodKey } from "../policy/method-policy.ts";
import { toConnectError } from "./connect-errors.ts";
import { createThrottledLog } from "./throttled-log.ts";

/** Translates the failure of a call into the error that its caller receives. */
export type ErrorTranslator = (error: unknown, method: DescMethod) => ConnectError;

/**
 * Creates the translator. It logs causes and never sends them; an unexpected error becomes INTERNAL with the trace id
 * under which the log has it. Connect's own errors are returned unchanged.
 */
export function createErrorTranslator(log: Log): ErrorTranslator {
  const logFailure = createThrottledLog(log);
  return (error, method) => {
    if (error instanceof ConnectError) return error;
    if (error instanceof AppError && error.code !== "internal") {
      if (error.cause !== undefined || error.code === "unavailable") logFailure(methodKey(method), error);
      return toConnectError(error);
    }
    const traceId = randomUUID();
    log.error({ method: methodKey(method), trace_id: traceId, err: error }, "Call failed unexpectedly");
    return toConnectError(
      new AppError("internal", `Internal error. The cause is logged under trace ID ${traceId}.`, {
        reason: error instanceof AppError ? error.details.reason : "INTERNAL",
        metadata: { trace_id: traceId },
      }),
    );
  };
}
