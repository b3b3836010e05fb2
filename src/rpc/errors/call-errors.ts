import { AppError } from "../../kernel/errors.ts";

/** When the caller of a call that a shutdown ended should retry, in milliseconds. */
const SHUTDOWN_RETRY_MS = 1_000;

/** Returns DEADLINE_EXCEEDED for a call that was not done within its timeout, in milliseconds. */
export function deadlineExceeded(timeoutMs: number): AppError {
  const wholeMs = Math.round(timeoutMs);
  return new AppError(
    "deadline_exceeded",
    `The call exceeded its deadline of ${wholeMs} ms. Set a longer deadline or request less per call.`,
    { reason: "DEADLINE_EXCEEDED", metadata: { timeout_ms: String(wholeMs) } },
  );
}

/** Returns DEADLINE_EXCEEDED for a request whose body stopped arriving. */
export function requestStalled(): AppError {
  return new AppError("deadline_exceeded", "The request body did not arrive in time. Send it again.", {
    reason: "REQUEST_STALLED",
  });
}

/** Returns UNAVAILABLE for a call without a deadline that ends because the server stops. */
export function shuttingDown(): AppError {
  return new AppError("unavailable", "This server is shutting down. Call again to reach another one.", {
    reason: "SHUTTING_DOWN",
    retryAfterMs: SHUTDOWN_RETRY_MS,
  });
}

/** Returns CANCELLED for a call whose caller has disconnected or reset it. */
export function callCancelled(): AppError {
  return new AppError("cancelled", "The caller cancelled the call.", { reason: "CANCELLED" });
}
