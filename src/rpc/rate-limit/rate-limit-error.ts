import type { Budget, Decision } from "../../infra/rate-limit/limiter.ts";
import { AppError } from "../../kernel/errors.ts";
import { ceilSeconds } from "../errors/connect-errors.ts";

/** The units of each class in an error message. */
const UNIT_NAMES: Readonly<Record<string, string>> = {
  READ: "reads",
  WRITE: "writes",
  INGEST: "records",
  AUTH: "sign-in attempts",
  REGISTER: "registrations",
};

/** Windows that have a name of their own, by their seconds. */
const WINDOW_NAMES: Readonly<Record<number, string>> = {
  1: "a second",
  60: "a minute",
  3600: "an hour",
  86400: "a day",
};

/** The callers who share a budget, in an error message, by its scope. */
const SHARED_SCOPES: Readonly<Record<string, string>> = {
  site: " for all callers in your /48 network",
  "address-accounts": " for all accounts at your address",
  "site-accounts": " for all accounts in your /48 network",
};

/** Returns RESOURCE_EXHAUSTED for a call that a budget does not cover. */
export function rateLimitExceeded(
  { name, units, windowMs }: Budget,
  { retryAfterMs = 0 }: Decision,
): AppError {
  const [className = "", scope = ""] = name.split(":");
  const windowSeconds = windowMs / 1_000;
  const rate = `${units} ${UNIT_NAMES[className] ?? "calls"} ${WINDOW_NAMES[windowSeconds] ?? `in ${windowSeconds} s`}`;
  return new AppError(
    "resource_exhausted",
    `Rate limit exceeded: ${rate}${SHARED_SCOPES[scope] ?? ""}. Retry in ${ceilSeconds(retryAfterMs)} s.`,
    {
      reason: "RATE_LIMITED",
      quota: name.replace(":", "/"),
      metadata: { class: className, limit: String(units), window_ms: String(windowMs) },
      retryAfterMs,
    },
  );
}
