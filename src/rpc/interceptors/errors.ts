import { randomUUID } from "node:crypto";
import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.ts";
import { AppError, type ErrorCode } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { createThrottledLog } from "../errors/throttled-log.ts";
import { methodKey } from "../policy/method-policy.ts";

/** The `domain` of every ErrorInfo that we send. */
export const errorDomain = "cartwright";

/** When a caller may come back to a service that is away, and said nothing more exact. */
const defaultRetryMs = 1_000;

/** Some clients refuse trailers over 8 KiB, and a message is sent twice in them. */
const maxMessageLength = 1_000;

/** What each of the shop's error codes is on the wire. */
const wireCodes = {
  invalid: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  conflict: Code.Aborted,
  exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  internal: Code.Internal,
} as const satisfies Record<ErrorCode, Code>;

/**
 * An error as it is sent, with its google.rpc details and, for who knows HTTP alone, the time to come back in
 * `retry-after`: a header for Connect, a trailer for gRPC. The cause stays here.
 */
export function toConnectError(error: AppError): ConnectError {
  const { message } = error;
  const retryAfterMs = retryAfterMsOf(error);
  return new ConnectError(
    message.length > maxMessageLength ? `${message.slice(0, maxMessageLength).toWellFormed()}...` : message,
    wireCodes[error.code],
    retryAfterMs === undefined ? undefined : { "retry-after": String(Math.ceil(retryAfterMs / 1_000)) },
    detailsOf(error),
    error.cause,
  );
}

type Detail = { desc: DescMessage; value: MessageInitShape<DescMessage> };

function detail<Desc extends DescMessage>(desc: Desc, value: MessageInitShape<Desc>): Detail {
  return { desc, value };
}

/** How long its caller is to wait, milliseconds; undefined: that is not for us to say. */
function retryAfterMsOf({ code, details }: AppError): number | undefined {
  const retryAfterMs = details.retryAfterMs ?? (code === "unavailable" ? defaultRetryMs : undefined);
  return retryAfterMs === undefined ? undefined : Math.max(0, retryAfterMs);
}

function detailsOf(error: AppError): Detail[] {
  const { message, details } = error;
  const { reason, metadata = {}, fields, preconditions, resource, quota } = details;
  const sent = [detail(ErrorInfoSchema, { reason, domain: errorDomain, metadata })];
  if (fields !== undefined) sent.push(detail(BadRequestSchema, { fieldViolations: fields }));
  if (preconditions !== undefined) {
    sent.push(detail(PreconditionFailureSchema, { violations: preconditions }));
  }
  if (resource !== undefined) {
    const { type: resourceType, name: resourceName } = resource;
    sent.push(detail(ResourceInfoSchema, { resourceType, resourceName, description: message }));
  }
  if (quota !== undefined) {
    sent.push(detail(QuotaFailureSchema, { violations: [{ subject: quota, description: message }] }));
  }
  const retryAfterMs = retryAfterMsOf(error);
  if (retryAfterMs !== undefined) {
    sent.push(detail(RetryInfoSchema, { retryDelay: toDuration(retryAfterMs) }));
  }
  return sent;
}

function toDuration(milliseconds: number): { seconds: bigint; nanos: number } {
  const whole = Math.ceil(milliseconds);
  return { seconds: BigInt(Math.floor(whole / 1_000)), nanos: (whole % 1_000) * 1_000_000 };
}

/** Makes of what a call failed with what its caller is told. */
export type Translate = (error: unknown, method: DescMethod) => ConnectError;

/**
 * Turns what was thrown into what callers are told. Causes are logged, never sent; what nobody
 * expected becomes INTERNAL with an id under which the log has it. Connect's own errors pass as they are.
 */
export function createTranslate(log: Log): Translate {
  const logFailure = createThrottledLog(log);
  return (error, method) => {
    if (error instanceof ConnectError) return error;
    if (error instanceof AppError && error.code !== "internal") {
      if (error.cause !== undefined || error.code === "unavailable") logFailure(methodKey(method), error);
      return toConnectError(error);
    }
    const traceId = randomUUID();
    log.error({ method: methodKey(method), trace_id: traceId, err: error }, "A call failed unexpectedly");
    return toConnectError(
      new AppError(
        "internal",
        `Something went wrong on our side; the log has the cause under id ${traceId}.`,
        {
          reason: error instanceof AppError ? error.details.reason : "INTERNAL",
          metadata: { trace_id: traceId },
        },
      ),
    );
  };
}

/** Turns what handlers throw into what callers are told. */
export function createErrorInterceptor(translate: Translate): Interceptor {
  async function* translated<T>(messages: AsyncIterable<T>, method: DescMethod): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (error) {
      throw translate(error, method);
    }
  }
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: translated(response.message, request.method) };
    } catch (error) {
      throw translate(error, request.method);
    }
  };
}
