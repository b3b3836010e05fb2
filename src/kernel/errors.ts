/**
 * The shop's own error codes. One table in `interceptors/errors.ts` maps each to a gRPC code and
 * google.rpc details; domain code knows nothing of either.
 */
export type ErrorCode =
  | "invalid"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "conflict"
  | "exhausted"
  | "unavailable"
  | "deadline_exceeded"
  | "cancelled"
  | "unauthenticated"
  | "permission_denied"
  | "internal";

/** One field that is wrong, by its path in the request (`order.items[1].quantity`). */
export interface FieldViolation {
  field: string;
  description: string;
}

/** What forbids the call now (`STOCK`, `products/{id}`, `3 left, 5 asked for`). */
export interface StateViolation {
  type: string;
  subject: string;
  description: string;
}

/** What a caller can act upon besides the sentence; all of it is sent. */
export interface ErrorDetails {
  /** Stable reason in UPPER_SNAKE_CASE; clients switch on it. */
  reason: string;
  /** Values that belong to the reason, such as the current etag. */
  metadata?: Record<string, string>;
  fields?: FieldViolation[];
  preconditions?: StateViolation[];
  /** The thing that is missing or already there. */
  resource?: { type: string; name: string };
  /** Which budget is spent, such as READ/address. */
  quota?: string;
  /** How long to wait before the next try, milliseconds. */
  retryAfterMs?: number;
}

/** An error that a caller is told about: the code, a sentence that says what to do, and details. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /** @param cause logged, never sent */
  constructor(code: ErrorCode, message: string, details: ErrorDetails, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "AppError";
    this.code = code;
    this.details = details;
  }
}

/** A mistake in what the process was started with. Its message is for a person; no stack is printed. */
export class StartupError extends Error {
  override readonly name = "StartError";
}

/** INVALID_ARGUMENT on one field. */
export function invalidField(field: string, description: string, reason = "INVALID_FIELD"): AppError {
  return new AppError("invalid", `${field}: ${description}`, { reason, fields: [{ field, description }] });
}

/** A caller's text as an error shows it: no longer than a line, whatever was sent. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64).toWellFormed()}...` : text);
}

/** NOT_FOUND for a resource, named by its type and the id or key that was asked for. */
export function notFound(type: string, name: string): AppError {
  return new AppError("not_found", `No ${type} ${name}. Check the id; deleted ones are not shown.`, {
    reason: `${type.toUpperCase()}_NOT_FOUND`,
    resource: { type, name },
  });
}

/** ABORTED for an etag that is no longer the current one, which is sent along. */
export function staleEtag(type: string, name: string, currentEtag: string): AppError {
  return new AppError(
    "conflict",
    `The ${type} has changed since you read it. Read it again and repeat your change on the current version.`,
    { reason: "STALE_ETAG", metadata: { current_etag: currentEtag }, resource: { type, name } },
  );
}
