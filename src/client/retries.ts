import { clone, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type Interceptor } from "@connectrpc/connect";
import { TrackerService } from "../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import { errorDetails } from "./errors.ts";
import { isRefreshInDoubt } from "./session.ts";
import { pause } from "./wait.ts";

/** The first pause is up to this long, and each further one up to twice as long as the one before. */
const firstPauseMs = 200;
const maxPauseMs = 5_000;

/** Who is told to wait for longer gets the error, and decides. */
const maxAskedMs = 10_000;

/** Counted once by the event id that each purchase carries. */
const countedByEventId: ReadonlySet<DescMethod> = new Set([
  TrackerService.method.recordPurchase,
  TrackerService.method.batchRecordPurchases,
]);

/**
 * Tries calls again when the shop is UNAVAILABLE, and only those that cannot be done twice: reads, and
 * changes that the shop knows again by their request_id or event_id. An empty request_id is filled in, so
 * that all tries are one call to the shop.
 * @param retries tries after the first, at most
 */
export function createRetries(retries: number): Interceptor {
  return (next) => async (request) => {
    if (request.stream || !isRepeatable(request.method)) return next(request);
    const { method, signal } = request;
    const repeated = { ...request, message: withRequestId(method.input, request.message) };
    for (let failures = 0; ; failures++) {
      try {
        return await next(repeated);
      } catch (error) {
        const pauseMs = failures < retries ? pauseAfter(error, failures) : undefined;
        if (pauseMs === undefined) throw error;
        await pause(signal, pauseMs);
      }
    }
  };
}

function isRepeatable(method: DescMethod): boolean {
  return (
    method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN ||
    method.input.field.requestId !== undefined ||
    countedByEventId.has(method)
  );
}

/** The message with a request_id, if its type has one. A copy: the caller may use the message again. */
function withRequestId(schema: DescMessage, message: Message): Message {
  const field = schema.field.requestId;
  if (field === undefined || reflect(schema, message).get(field) !== "") return message;
  const filled = reflect(schema, clone(schema, message));
  filled.set(field, randomUuid());
  return filled.message;
}

/** A UUID of version 4 (RFC 9562). Pages without https have no `crypto.randomUUID`. */
function randomUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/**
 * How long to wait after a failure, milliseconds; undefined: do not try again. As long as the shop asked
 * for, and a random time on top, so that callers who failed together do not come back together
 * ("full jitter", Brooker 2015, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
function pauseAfter(error: unknown, failures: number): number | undefined {
  const { code, retryDelayMs: askedMs = 0 } = errorDetails(error);
  if (code !== Code.Unavailable || askedMs > maxAskedMs || isRefreshInDoubt(error)) return undefined;
  return askedMs + Math.random() * Math.min(maxPauseMs, firstPauseMs * 2 ** failures);
}
