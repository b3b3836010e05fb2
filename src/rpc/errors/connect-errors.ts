import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.ts";
import { type AppError, type ErrorCode, truncated } from "../../kernel/errors.ts";

/** The `domain` of every ErrorInfo. */
export const ERROR_DOMAIN = "cartwright";

/** The default delay before a retry of UNAVAILABLE. */
const DEFAULT_RETRY_MS = 1_000;

/** UTF-16 units. Some clients reject trailers over 8 KiB, and a message is in them twice. */
const MAX_MESSAGE_LENGTH = 1_000;

/** The gRPC code of each error code. */
const CONNECT_CODES = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  cancelled: Code.Canceled,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  internal: Code.Internal,
} as const satisfies Record<ErrorCode, Code>;

/**
 * Returns an error as it is sent: with google.rpc details, and with the delay before a retry in `retry-after` for
 * clients that support HTTP only (a header for Connect, a trailer for gRPC). The cause is not sent.
 */
export function toConnectError(error: AppError): ConnectError {
  const { message } = error;
  const retryAfterMs = retryDelayMs(error);
  const translated = new ConnectError(
    truncated(message, MAX_MESSAGE_LENGTH),
    CONNECT_CODES[error.code],
    retryAfterMs === undefined ? undefined : { "retry-after": String(ceilSeconds(retryAfterMs)) },
    errorDetails(error, retryAfterMs),
    error.cause,
  );
  translated.details.push(...(error.details.messages ?? []));
  return translated;
}

/** Returns whole seconds, rounded up, so that a caller never retries too early. */
export function ceilSeconds(milliseconds: number): number {
  return Math.ceil(milliseconds / 1_000);
}

/** Returns the name of a code as gRPC spells it, such as DEADLINE_EXCEEDED. */
export function codeName(code: Code): string {
  return code === Code.Canceled ? "CANCELLED" : Code[code].replace(/(?<=.)[A-Z]/g, "_$&").toUpperCase();
}

/** Returns the delay before a retry, in milliseconds; undefined when there is none to recommend. */
function retryDelayMs({ code, details }: AppError): number | undefined {
  const retryAfterMs = details.retryAfterMs ?? (code === "unavailable" ? DEFAULT_RETRY_MS : undefined);
  return retryAfterMs === undefined ? undefined : Math.max(0, retryAfterMs);
}

interface Detail {
  desc: DescMessage;
  value: MessageInitShape<DescMessage>;
}

function detail<Desc extends DescMessage>(desc: Desc, value: MessageInitShape<Desc>): Detail {
  return { desc, value };
}

function errorDetails({ message, details }: AppError, retryAfterMs: number | undefined): Detail[] {
  const { reason, metadata = {}, fields, preconditions, resource, quota } = details;
  const list = [detail(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN, metadata })];
  if (fields !== undefined) list.push(detail(BadRequestSchema, { fieldViolations: fields }));
  if (preconditions !== undefined) {
    list.push(detail(PreconditionFailureSchema, { violations: preconditions }));
  }
  if (resource !== undefined) {
    const { type: resourceType, name: resourceName } = resource;
    list.push(detail(ResourceInfoSchema, { resourceType, resourceName, description: message }));
  }
  if (quota !== undefined) {
    list.push(detail(QuotaFailureSchema, { violations: [{ subject: quota, description: message }] }));
  }
  if (retryAfterMs !== undefined) {
    list.push(detail(RetryInfoSchema, { retryDelay: toDuration(retryAfterMs) }));
  }
  return list;
}

function toDuration(milliseconds: number): { seconds: bigint; nanos: number } {
  const whole = Math.ceil(milliseconds);
  return { seconds: BigInt(Math.floor(whole / 1_000)), nanos: (whole % 1_000) * 1_000_000 };
}
