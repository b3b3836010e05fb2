import { OptimisticLockError } from "@mikro-orm/postgresql";
import { AppError } from "../../kernel/errors.ts";

/** The parts of a PostgreSQL or socket error that decide how to handle it. */
export interface PostgresError {
  /** SQLSTATE, Node's code of a socket error, CONNECTION_LOST or POOL_EXHAUSTED. */
  code: string;
  constraint: string | undefined;
  /** PostgreSQL's DETAIL, which holds the values of a violated key. Never sent to callers as it is. */
  detail: string;
  message: string;
}

// pg raises these without a code.
const CONNECTION_LOST_MESSAGE = /Connection terminated|not queryable|Query read timeout/i;
const POOL_EXHAUSTED_MESSAGE = /timeout exceeded when trying to connect|timeout expired/i;

// Deadlock, serialization failure, lock timeout.
const LOCK_TIMEOUT = "55P03";
const CONTENTION_CODES = new Set(["40P01", "40001", LOCK_TIMEOUT]);
// Class 08: connection exceptions. 57P01 to 57P05: shutdown, crash, start, drop, idle timeout. Class 53: resources.
const UNAVAILABLE_CODES = /^(08...|57P0[1-5]|53...|E[A-Z]+|CONNECTION_LOST)$/;
// 25P01 to 25P03: the connection is in a transaction state that it should not be in. 25P04: transaction timeout.
const CONNECTION_LOST_CODES = /^(08...|25P0[1234]|57P0[125]|ECONNRESET|EPIPE|ETIMEDOUT|CONNECTION_LOST)$/;
const QUERY_CANCELED = "57014";
const TRANSACTION_TIMEOUT = "25P04";
const IN_FAILED_TRANSACTION = "25P02";
const NUMERIC_VALUE_OUT_OF_RANGE = "22003";

/** Maximum depth of the causes to search: the ORM wraps the driver's errors. */
const MAX_CAUSES = 4;

/** Returns the driver's part of an error, or undefined when the error did not come from the driver. */
export function readPostgresError(error: unknown): PostgresError | undefined {
  // Its message may hold a caller's text that looks like one of the driver's.
  if (error instanceof AppError) return undefined;
  let cause = error;
  for (let depth = 0; cause instanceof Error && depth < MAX_CAUSES; depth += 1) {
    const code = textOf(cause, "code") ?? codeOfMessage(cause.message);
    if (code !== undefined) {
      return {
        code,
        constraint: textOf(cause, "constraint"),
        detail: textOf(cause, "detail") ?? "",
        message: cause.message,
      };
    }
    cause = cause.cause;
  }
  return undefined;
}

/** Returns whether a transaction failed because of a concurrent one and may succeed when it runs again. */
export function isContention(error: unknown): boolean {
  return error instanceof OptimisticLockError || CONTENTION_CODES.has(readPostgresError(error)?.code ?? "");
}

/** Returns whether a statement waited longer for a lock than its lock timeout. */
export function isLockTimeout(error: unknown): boolean {
  return readPostgresError(error)?.code === LOCK_TIMEOUT;
}

/** Returns whether a statement was rejected because an earlier one of its transaction has failed. */
export function isTransactionFailed(error: unknown): boolean {
  return readPostgresError(error)?.code === IN_FAILED_TRANSACTION;
}

/** Returns whether the connection is unusable; another one may work. */
export function isConnectionLost(error: unknown): boolean {
  return CONNECTION_LOST_CODES.test(readPostgresError(error)?.code ?? "");
}

/** Returns whether the server has ended a transaction that took too long. */
export function isTransactionTimeout(error: unknown): boolean {
  return readPostgresError(error)?.code === TRANSACTION_TIMEOUT;
}

/** Returns whether a row violates this unique, foreign-key or check constraint. */
export function violatesConstraint(error: unknown, constraint: string): boolean {
  const found = readPostgresError(error);
  return found?.code.startsWith("23") === true && found.constraint === constraint;
}

/** Returns whether a number does not fit its column. */
export function isNumberOutOfRange(error: unknown): boolean {
  return readPostgresError(error)?.code === NUMERIC_VALUE_OUT_OF_RANGE;
}

/** Returns the value of "Key (column)=(value) is not present" of a foreign-key violation; empty without one. */
export function missingKeyValue(error: unknown): string {
  return /=\((.*)\) is not present/.exec(readPostgresError(error)?.detail ?? "")?.[1] ?? "";
}

/** Holds for every method: it may be unknown whether a change was committed, and some methods have no request_id. */
const RETRY_ADVICE =
  "Retry the call. If it has a request_id, use the same one, so that it takes effect only once.";

/** Maps a database error to the AppError that its caller gets; returns other errors as they are. */
export function toAppError(error: unknown): unknown {
  if (error instanceof AppError) return error;
  if (isContention(error)) return contentionError(error);
  const code = readPostgresError(error)?.code;
  if (code === undefined) return error;
  if (code === QUERY_CANCELED || code === TRANSACTION_TIMEOUT) {
    return new AppError(
      "deadline_exceeded",
      "The database took too long. Nothing was changed. Retry the call with a narrower query or a longer deadline.",
      { reason: "STATEMENT_TIMEOUT" },
      error,
    );
  }
  if (code === "POOL_EXHAUSTED") return databaseBusy(error);
  if (UNAVAILABLE_CODES.test(code)) {
    return new AppError(
      "unavailable",
      `The database is temporarily unavailable. ${RETRY_ADVICE}`,
      { reason: "DATABASE_AWAY", retryAfterMs: 1_000 },
      error,
    );
  }
  return error;
}

/** Returns the AppError for a call whose transaction failed too often because of concurrent ones. */
export function contentionError(cause: unknown): AppError {
  return new AppError(
    "aborted",
    "Too many concurrent changes of the same rows. Retry the call.",
    { reason: "CONTENTION", retryAfterMs: 100 },
    cause,
  );
}

/** Returns the AppError for a call that waited too long for a connection. */
export function databaseBusy(cause?: unknown): AppError {
  return new AppError(
    "unavailable",
    `The service is overloaded: no database connection became free in time. ${RETRY_ADVICE}`,
    { reason: "DATABASE_BUSY", retryAfterMs: 1_000 },
    cause,
  );
}

function textOf(error: Error, key: string): string | undefined {
  const value: unknown = Reflect.get(error, key);
  return typeof value === "string" ? value : undefined;
}

function codeOfMessage(message: string): string | undefined {
  if (CONNECTION_LOST_MESSAGE.test(message)) return "CONNECTION_LOST";
  return POOL_EXHAUSTED_MESSAGE.test(message) ? "POOL_EXHAUSTED" : undefined;
}
