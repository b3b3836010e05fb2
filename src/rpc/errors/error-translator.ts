import { randomUUID } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { methodKey } from "../policy/method-policy.ts";
import { addErrorInfo, correctCode } from "./complete-errors.ts";
import { toConnectError } from "./connect-errors.ts";
import { createThrottledLog } from "./throttled-log.ts";

/** Turns the failure of a call into the error that its caller receives. */
export interface ErrorTranslator {
  /** Translates what a handler or interceptor has thrown. Connect's own errors are returned unchanged. */
  translate(error: unknown, method: DescMethod): ConnectError;
  /**
   * Completes an error right before it is written: Connect's own errors lack an ErrorInfo.
   * @param reason of the ErrorInfo; default: the one of the code
   */
  complete(error: ConnectError, reason?: string): void;
}

/** Options of the translator. */
export interface ErrorTranslatorOptions {
  log: Log;
  /** Whether errors without details get an ErrorInfo. */
  addsErrorInfo: boolean;
}

/**
 * Creates the translator. It logs causes and never sends them; an unexpected error becomes INTERNAL with the trace id
 * under which the log has it.
 */
export function createErrorTranslator({ log, addsErrorInfo }: ErrorTranslatorOptions): ErrorTranslator {
  const logFailure = createThrottledLog(log);
  const translate: ErrorTranslator["translate"] = (error, method) => {
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
  return {
    translate,
    complete(error, reason) {
      if (error.details.length > 0) return;
      correctCode(error);
      if (addsErrorInfo) addErrorInfo(error, reason);
    },
  };
}
