import { AppError } from "./errors.ts";

/** What an account may do: its own things, everybody's things, or the keys of other services as well. */
export type Role = "CUSTOMER" | "STAFF" | "ADMIN";

/** On whose behalf a call is made. */
export type Principal =
  /** Nobody has signed in. */
  | { readonly kind: "anonymous" }
  | {
      readonly kind: "account";
      readonly accountId: string;
      readonly customerId: string;
      readonly role: Role;
      readonly sessionId: string;
    }
  /** Another service, by its API key. */
  | {
      readonly kind: "service";
      readonly keyId: string;
      readonly serviceAccount: string;
      /** As the contract spells them, without SCOPE_: `ORDERS_READ`. */
      readonly scopes: ReadonlySet<string>;
    }
  /** The service itself and, while ACCESS is off, everyone. */
  | { readonly kind: "system" };

/** Nobody has signed in. */
export const anonymous: Principal = Object.freeze({ kind: "anonymous" });
/** The service itself. */
export const system: Principal = Object.freeze({ kind: "system" });

/**
 * The customer to whose things the caller is confined. Undefined for those who may see all.
 * @throws UNAUTHENTICATED for who has not signed in, and so owns nothing
 */
export function ownerScope(principal: Principal): string | undefined {
  if (principal.kind === "anonymous") throw signInRequired();
  return principal.kind === "account" && principal.role === "CUSTOMER" ? principal.customerId : undefined;
}

/** Names what the caller has shown, such as `account:<id>` or `service:<key id>`; empty for the service itself. */
export function principalName(principal: Principal): string {
  switch (principal.kind) {
    case "account":
      return `account:${principal.accountId}`;
    case "service":
      return `service:${principal.keyId}`;
    case "anonymous":
      return "anonymous";
    case "system":
      return "";
  }
}

/**
 * Names whose a request_id is, such as `account:<id>`; empty for the service itself. All keys of a service account are
 * one caller: it may change them between a call and its repeat.
 */
export function requestOwner(principal: Principal): string {
  return principal.kind === "service"
    ? `service-account:${principal.serviceAccount}`
    : principalName(principal);
}

/** UNAUTHENTICATED for a caller without a token. */
export function signInRequired(): AppError {
  return new AppError(
    "unauthenticated",
    "This needs a token. Sign in with IdentityService/SignIn and send the header authorization: Bearer <access_token>.",
    { reason: SIGN_IN_REQUIRED },
  );
}

/** UNAUTHENTICATED for an Authorization header that can hold no token. */
export function malformedAuthorization(): AppError {
  return new AppError("unauthenticated", "The header must read authorization: Bearer <token>.", {
    reason: "AUTHORIZATION_MALFORMED",
  });
}

/** The reason of who has shown nothing yet. */
export const SIGN_IN_REQUIRED = "SIGN_IN_REQUIRED";
/** The reasons of who has shown something that was good once. Whoever has shown something wrong gets another. */
export const TOKEN_EXPIRED = "TOKEN_EXPIRED";
export const SESSION_ENDED = "SESSION_ENDED";
/** Of a refresh token that was used before. */
export const REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED";
/** Of an API key that was revoked, or has expired. */
export const API_KEY_ENDED = "API_KEY_ENDED";

/** PERMISSION_DENIED, with a sentence that says what is needed. */
export function permissionDenied(message: string, reason = "PERMISSION_DENIED"): AppError {
  return new AppError("permission_denied", message, { reason });
}
