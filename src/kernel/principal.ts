import { AppError } from "./errors.ts";

/** The rights of an account: its own resources, the resources of all customers, or API keys as well. */
export type Role = "CUSTOMER" | "STAFF" | "ADMIN";

/** The caller. */
export type Principal =
  /** A caller without credentials. */
  | { readonly kind: "anonymous" }
  /** A signed-in person. */
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
      /** Names of the contract without the prefix SCOPE_, such as `ORDERS_READ`. */
      readonly scopes: ReadonlySet<string>;
    }
  /** The service itself and, while ACCESS is off, every caller. */
  | { readonly kind: "system" };

/** A caller without credentials. */
export const anonymous: Principal = Object.freeze({ kind: "anonymous" });
/** The service itself. */
export const system: Principal = Object.freeze({ kind: "system" });

/** Reason for a caller without credentials. */
export const SIGN_IN_REQUIRED = "SIGN_IN_REQUIRED";
/** Reasons for credentials that were valid once. Wrong credentials have other reasons. */
export const TOKEN_EXPIRED = "TOKEN_EXPIRED";
export const SESSION_ENDED = "SESSION_ENDED";
/** Reason for a refresh token that was used before. */
export const REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED";
/** Reason for an API key that was revoked or has expired. */
export const API_KEY_ENDED = "API_KEY_ENDED";

/**
 * Returns the id of the customer whose resources alone the caller may access; undefined for staff and services, who
 * may access those of all customers.
 * @throws AppError unauthenticated for an anonymous caller
 */
export function ownerScope(principal: Principal): string | undefined {
  if (principal.kind === "anonymous") throw signInRequired();
  return principal.kind === "account" && principal.role === "CUSTOMER" ? principal.customerId : undefined;
}

/** Returns a name such as `account:<id>` or `service:<key id>`; empty for the service itself. */
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
 * Returns the owner of a caller's request_ids. All keys of a service account are one owner, so that a service may
 * rotate its key between a request and its retry.
 */
export function requestOwner(principal: Principal): string {
  return principal.kind === "service"
    ? `service-account:${principal.serviceAccount}`
    : principalName(principal);
}

/** Returns UNAUTHENTICATED for a caller without credentials. */
export function signInRequired(): AppError {
  return new AppError(
    "unauthenticated",
    "This method requires a token. Sign in with IdentityService/SignIn and send the header authorization: Bearer <access_token>.",
    { reason: SIGN_IN_REQUIRED },
  );
}

/** Returns UNAUTHENTICATED for an Authorization header that holds no bearer token. */
export function malformedAuthorization(): AppError {
  return new AppError("unauthenticated", "The header must have the form authorization: Bearer <token>.", {
    reason: "AUTHORIZATION_MALFORMED",
  });
}

/** Returns PERMISSION_DENIED. The message says which permission is needed. */
export function permissionDenied(message: string, reason = "PERMISSION_DENIED"): AppError {
  return new AppError("permission_denied", message, { reason });
}
