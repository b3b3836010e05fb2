import { AppError } from "../../kernel/errors.ts";
import {
  API_KEY_ENDED,
  REFRESH_TOKEN_REUSED,
  SESSION_ENDED,
  SIGN_IN_REQUIRED,
  TOKEN_EXPIRED,
} from "../../kernel/principal.ts";

/** The reasons for credentials that were valid once: sending one is not a failed attempt. */
const ENDED_CREDENTIAL_REASONS: ReadonlySet<string> = new Set([
  TOKEN_EXPIRED,
  SESSION_ENDED,
  REFRESH_TOKEN_REUSED,
  API_KEY_ENDED,
]);

/** Returns whether an error reports a wrong password, token or key. A missing one is not a failed attempt. */
export function isFailedAuth(error: unknown): boolean {
  if (!(error instanceof AppError) || error.code !== "unauthenticated") return false;
  return error.details.reason !== SIGN_IN_REQUIRED && !isEndedCredential(error);
}

/** Returns whether an error reports a token or key that was valid once and is no longer. */
export function isEndedCredential(error: unknown): boolean {
  return (
    error instanceof AppError &&
    error.code === "unauthenticated" &&
    ENDED_CREDENTIAL_REASONS.has(error.details.reason)
  );
}
