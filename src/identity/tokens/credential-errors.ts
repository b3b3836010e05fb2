import { AppError } from "../../kernel/errors.ts";
import { API_KEY_ENDED, SESSION_ENDED, TOKEN_EXPIRED } from "../../kernel/principal.ts";

/** Returns the error for an access token past its `exp`. */
export function accessTokenExpired(): AppError {
  return new AppError(
    "unauthenticated",
    "The access token has expired. Get a new one with IdentityService/RefreshSession.",
    { reason: TOKEN_EXPIRED },
  );
}

/** Returns the error for an access token with a wrong form, signature or claim. */
export function accessTokenInvalid(cause?: unknown): AppError {
  return new AppError(
    "unauthenticated",
    "Invalid access token. Sign in again.",
    { reason: "TOKEN_INVALID" },
    cause,
  );
}

/** Returns the error for an access or refresh token whose session was revoked or has expired. */
export function sessionEnded(cause?: unknown): AppError {
  return new AppError(
    "unauthenticated",
    "The session has ended. Sign in again.",
    { reason: SESSION_ENDED },
    cause,
  );
}

/** Returns the error for an API key that does not exist. */
export function apiKeyInvalid(): AppError {
  return new AppError("unauthenticated", "Invalid API key. Request a valid one from an administrator.", {
    reason: "API_KEY_INVALID",
  });
}

/** Returns the error for an API key that was revoked or has expired. */
export function apiKeyEnded(): AppError {
  return new AppError(
    "unauthenticated",
    "The API key has expired or was revoked. Request a new one from an administrator.",
    { reason: API_KEY_ENDED },
  );
}
