import { AppError } from "../../kernel/errors.ts";

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

/** Returns CANCELLED for a call whose caller has disconnected or reset it. */
export function callCancelled(): AppError {
  return new AppError("cancelled", "The caller cancelled the call.", { reason: "CANCELLED" });
}
