/**
 * Error codes of the features. `rpc/errors` maps each to a gRPC code and google.rpc details; features use neither.
 */
export type ErrorCode =
  | "invalid_argument"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "aborted"
  | "resource_exhausted"
  | "unavailable"
  | "deadline_exceeded"
  | "cancelled"
  | "unauthenticated"
  | "permission_denied"
  | "internal";

/** An invalid field of a request. */
export interface FieldViolation {
  /** Path in the request, such as `order.items[1].quantity`. */
  field: string;
  description: string;
}

/** A state that forbids the call for now, such as `STOCK`, `products/{id}`, `3 left, 5 requested`. */
export interface StateViolation {
  type: string;
  subject: string;
  description: string;
}

/** A message of the contract in its encoding, for the details of an error. */
export interface EncodedMessage {
  /** Full name of its type, such as `cartwright.order.v1.Quote`. */
  type: string;
  value: Uint8Array;
  /** The same as JSON, for people. */
  debug: JsonValue;
}

type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** The details of an error that callers can act upon; all of them are sent. */
export interface ErrorDetails {
  /** Stable reason in UPPER_SNAKE_CASE, which clients switch on. */
  reason: string;
  /** Values that belong to the reason, such as the current etag. */
  metadata?: Record<string, string>;
  fields?: FieldViolation[];
  preconditions?: StateViolation[];
  /** The resource that is missing or exists already. */
  resource?: { type: string; name: string };
  /** The rate limit that is exceeded, such as READ/address. */
  quota?: string;
  /** Delay before the next attempt, in milliseconds. */
  retryAfterMs?: number;
  /** Messages of the feature's contract, such as a new quote. */
  messages?: EncodedMessage[];
}

/** An error that is sent to the caller: a code, a message that says what is wrong and what to do, and details. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /** @param cause is logged and never sent */
  constructor(code: ErrorCode, message: string, details: ErrorDetails, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "AppError";
    this.code = code;
    this.details = details;
  }
}

/** A mistake in the environment or the arguments of the process. Its message is printed without a stack. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}

/** Returns INVALID_ARGUMENT for one field. */
export function invalidField(field: string, description: string, reason = "INVALID_FIELD"): AppError {
  return new AppError("invalid_argument", `${field}: ${description}`, {
    reason,
    fields: [{ field, description }],
  });
}

const OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN";

/**
 * Returns DEADLINE_EXCEEDED for a call whose changes may have been committed.
 * @param failure the error of the last attempt after a COMMIT without a response; absent when the deadline has passed
 */
export function outcomeUnknown(failure?: unknown): AppError {
  const cause =
    failure === undefined
      ? "The deadline passed while the change was being committed."
      : "The connection was lost while the change was being committed, and repeating it failed.";
  return new AppError(
    "deadline_exceeded",
    `${cause} Repeat the call with the same request_id, if it has one, to get its outcome.`,
    { reason: OUTCOME_UNKNOWN },
    failure,
  );
}

/** Returns whether an error says that the changes of its call may have been committed or not. */
export function isOutcomeUnknown(error: unknown): boolean {
  return error instanceof AppError && error.details.reason === OUTCOME_UNKNOWN;
}

/** Longest part of a caller's text that an error message repeats, in UTF-16 units. */
const MAX_QUOTED_LENGTH = 64;

/** Returns a caller's text in quotes, truncated to 64 UTF-16 units. */
export function quoted(text: string): string {
  return JSON.stringify(truncated(text, MAX_QUOTED_LENGTH));
}

/** Returns a text of at most this many UTF-16 units; a longer one is truncated, and ends with three periods more. */
export function truncated(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength).toWellFormed()}...` : text;
}

/** Returns NOT_FOUND for a resource, with its type and the requested id or key. */
export function notFound(type: string, name: string): AppError {
  return new AppError("not_found", `Not found: ${type.replaceAll("_", " ")} ${name}.`, {
    reason: `${type.toUpperCase()}_NOT_FOUND`,
    resource: { type, name },
  });
}

/** Returns ABORTED for a stale etag, with the current one. */
export function staleEtag(type: string, name: string, currentEtag: string): AppError {
  return new AppError(
    "aborted",
    `The ${type} has changed since you read it. Read it again and repeat your change on the current version.`,
    { reason: "STALE_ETAG", metadata: { current_etag: currentEtag }, resource: { type, name } },
  );
}

/**
 * Verifies that a caller has read the current version of a resource.
 * @param type of the resource, such as `product`
 * @param etag of the version that the caller has read; empty to skip the check
 * @throws AppError aborted for a stale etag, with the current one
 */
export function assertEtag(type: string, current: { id: string; etag: string }, etag: string): void {
  if (etag !== "" && etag !== current.etag) throw staleEtag(type, current.id, current.etag);
}

/**
 * Returns the message of a thrown value. Node leaves the message of an AggregateError empty, as when it could connect
 * to none of the addresses of a host: then its code, or else its name.
 */
export function errorMessage(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  return textProperty(error, "message") || errorCode(error) || textProperty(error, "name") || "unknown error";
}

/** Returns the code of an error of Node or of a driver, such as ENOENT; empty when it has none. */
export function errorCode(error: unknown): string {
  return typeof error === "object" && error !== null ? textProperty(error, "code") : "";
}

function textProperty(value: object, key: string): string {
  const property: unknown = Reflect.get(value, key);
  return typeof property === "string" ? property : "";
}
