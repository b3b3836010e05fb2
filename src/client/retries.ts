import { clone, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type Interceptor } from "@connectrpc/connect";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { errorDetails } from "./errors.ts";
import { isRefreshError } from "./refresh-error.ts";
import { sleep } from "./wait.ts";

/** Upper bound of the backoff before the first retry, in milliseconds. It doubles with each retry. */
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5_000;
/** The longest delay that the service may request, in milliseconds. Beyond it the caller gets the error. */
const MAX_RETRY_DELAY_MS = 10_000;

/** Methods that are idempotent by the event id of each purchase. */
const idempotentByEventId: ReadonlySet<DescMethod> = new Set([
  TrackerService.method.recordPurchase,
  TrackerService.method.batchRecordPurchases,
]);

/**
 * Creates the interceptor that retries calls after UNAVAILABLE if they are idempotent: reads, and changes with a
 * request_id or event_id. An empty request_id is filled in, the same for all attempts of a call.
 * @param retries maximum number of attempts after the first
 */
export function createRetryInterceptor(retries: number): Interceptor {
  return (next) => async (request) => {
    if (request.stream || !isRetryable(request.method)) return next(request);
    const { method, signal } = request;
    const retryable = { ...request, message: withRequestId(method.input, request.message) };
    for (let failures = 0; ; failures++) {
      try {
        return await next(retryable);
      } catch (error) {
        const delayMs = failures < retries ? retryDelay(error, failures) : undefined;
        if (delayMs === undefined) throw error;
        await sleep(signal, delayMs);
      }
    }
  };
}

/** Returns whether repeating a call has no further effect. */
function isRetryable(method: DescMethod): boolean {
  return (
    method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN ||
    method.input.field.requestId !== undefined ||
    idempotentByEventId.has(method)
  );
}

/** Returns a copy of a message with a request_id, if its type has one and it is empty. */
function withRequestId(schema: DescMessage, message: Message): Message {
  const field = schema.field.requestId;
  if (field === undefined || reflect(schema, message).get(field) !== "") return message;
  const filled = reflect(schema, clone(schema, message));
  filled.set(field, randomUuid());
  return filled.message;
}

/** Returns a UUID of version 4 (RFC 9562). Pages without https have no `crypto.randomUUID`. */
function randomUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/**
 * Returns the delay before the next attempt, in milliseconds; undefined when the call must not be retried. It is the
 * delay that the service requests plus exponential backoff with full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
function retryDelay(error: unknown, failures: number): number | undefined {
  const { code, retryDelayMs = 0 } = errorDetails(error);
  if (code !== Code.Unavailable || retryDelayMs > MAX_RETRY_DELAY_MS || isRefreshError(error))
    return undefined;
  return retryDelayMs + Math.random() * Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** failures);
}
