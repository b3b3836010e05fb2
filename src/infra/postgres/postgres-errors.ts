import { OptimisticLockError } from "@mikro-orm/postgresql";
import { AppError } from "../../kernel/errors.ts";

/** The parts of a PostgreSQL or socket error that decide what to do, wherever the ORM has put them. */
export interface PostgresError {
  /** SQLSTATE, or Node's code for a socket's error. */
  code: string;
  constraint: string | undefined;
  /** PostgreSQL's detail, which holds the values of a broken key. Never sent as it is. */
  detail: string;
  message: string;
}

/** What the driver says of an error, or undefined when it is not the driver's. */
export function readPostgresError(error: unknown): PostgresError | undefined {
  // An AppError is ours, and its sentence may hold a caller's words.
  if (error instanceof AppError) return undefined;
  for (let next = error, depth = 0; next instanceof Error && depth < 4; next = next.cause, depth += 1) {
    const code = "code" in next && typeof next.code === "string" ? next.code : undefined;
    const constraint =
      "constraint" in next && typeof next.constraint === "string" ? next.constraint : undefined;
    const detail = "detail" in next && typeof next.detail === "string" ? next.detail : "";
    const known =
      code ??
      (LOST.test(next.message)
        ? "CONNECTION_LOST"
        : WAITED.test(next.message)
          ? "POOL_EXHAUSTED"
          : undefined);
    if (known !== undefined) return { code: known, constraint, detail, message: next.message };
  }
  return undefined;
}

// pg gives these no code.
const LOST = /Connection terminated|not queryable|Query read timeout/i;
const WAITED = /timeout exceeded when trying to connect|timeout expired/i;

// Deadlock, serialization failure, lock timeout: the whole transaction can be run again.
const CONTENTION = new Set(["40P01", "40001", "55P03"]);
// Class 08: connection. 57P01-57P05: server going, crashed, starting, dropped or idle too long. 53*: out of resources.
const AWAY = /^(08...|57P0[1-5]|53...|E[A-Z]+|CONNECTION_LOST)$/;
// Class 25: the connection is in a transaction that should not be there any more.
const BROKEN = /^(08...|25P0[123]|57P0[125]|ECONNRESET|EPIPE|ETIMEDOUT|CONNECTION_LOST)$/;
const CANCELLED = "57014";

/** The transaction lost against another one, by a lock or by a version, and can be run again. */
export function isContention(error: unknown): boolean {
  return error instanceof OptimisticLockError || CONTENTION.has(readPostgresError(error)?.code ?? "");
}

/** The connection died under the statement; another connection may do. */
export function isConnectionLost(error: unknown): boolean {
  return BROKEN.test(readPostgresError(error)?.code ?? "");
}

/** A row breaks this unique, foreign-key or check constraint. */
export function violatesConstraint(error: unknown, constraint: string): boolean {
  const fault = readPostgresError(error);
  return fault?.code.startsWith("23") === true && fault.constraint === constraint;
}

/** A number is larger than its column holds. */
export function isNumberOutOfRange(error: unknown): boolean {
  return readPostgresError(error)?.code === "22003";
}

/** The value in PostgreSQL's "Key (column)=(value) is not present"; empty when it does not say. */
export function missingKeyValue(error: unknown): string {
  return /=\((.*)\) is not present/.exec(readPostgresError(error)?.detail ?? "")?.[1] ?? "";
}

/** True for all methods: whether a change was committed is not always known, and not all of them can be repeated. */
const TRY_AGAIN =
  "Try again, with the same request_id where the method has one: then what is done already is not done twice.";

/** The caller's view of a database error; other errors are returned as they are. */
export function toAppError(error: unknown): unknown {
  if (error instanceof AppError) return error;
  if (isContention(error)) {
    return new AppError(
      "conflict",
      "Too many callers change the same rows at this moment. Try again.",
      { reason: "CONTENTION", retryAfterMs: 100 },
      error,
    );
  }
  const fault = readPostgresError(error);
  if (fault === undefined) return error;
  if (fault.code === CANCELLED) {
    return new AppError(
      "deadline_exceeded",
      "The database took too long. Nothing was changed. Try again, with a narrower query or a longer deadline.",
      { reason: "STATEMENT_TIMEOUT" },
      error,
    );
  }
  if (fault.code === "POOL_EXHAUSTED") return databaseBusy(error);
  if (AWAY.test(fault.code)) {
    return new AppError(
      "unavailable",
      `The database cannot be reached at this moment. ${TRY_AGAIN}`,
      { reason: "DATABASE_AWAY", retryAfterMs: 1_000 },
      error,
    );
  }
  return error;
}

/** No connection was to be had in time. */
export function databaseBusy(cause?: unknown): AppError {
  return new AppError(
    "unavailable",
    `The shop is busier than it can serve at this moment. ${TRY_AGAIN}`,
    { reason: "DATABASE_BUSY", retryAfterMs: 1_000 },
    cause,
  );
}
