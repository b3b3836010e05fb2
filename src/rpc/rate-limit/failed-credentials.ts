import { AppError } from "../../kernel/errors.ts";
import {
  API_KEY_ENDED,
  REFRESH_TOKEN_REUSED,
  SESSION_ENDED,
  SIGN_IN_REQUIRED,
  TOKEN_EXPIRED,
} from "../../kernel/principal.ts";

/** The reasons of credentials that were valid once: their owners have guessed nothing. */
const RETIRED: ReadonlySet<string> = new Set([
  TOKEN_EXPIRED,
  SESSION_ENDED,
  REFRESH_TOKEN_REUSED,
  API_KEY_ENDED,
]);

/** Returns whether an error says that a password, token or key was wrong. A missing one is not a failed attempt. */
export function isFailedAuth(error: unknown): boolean {
  if (!(error instanceof AppError) || error.code !== "unauthenticated") return false;
  return error.details.reason !== SIGN_IN_REQUIRED && !isRetiredCredential(error);
}

/** Returns whether an error says that a token or key was valid once and is no longer. */
export function isRetiredCredential(error: unknown): boolean {
  return error instanceof AppError && error.code === "unauthenticated" && RETIRED.has(error.details.reason);
}
