import type { AppError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";

/** How long a reason is not written again. */
const quietMs = 1_000;

/** A driver's sentence is short; whatever else comes along is cut. */
const maxCauseLength = 500;

/** Lines that were not written, and what the last of them would have said. */
interface HeldBack {
  count: number;
  fields: Record<string, unknown>;
}

/**
 * Tells of failures that are expected and not the caller's. A database that is away fails thousands of calls
 * a second, so each reason is written once a second at most, with the number of lines that were held back.
 * Of the cause only its sentence is written: a stack says nothing here, and PostgreSQL's details hold values.
 */
export function createThrottledLog(log: Log): (method: string, error: AppError) => void {
  const quiet = new Map<string, HeldBack>();
  const write = (reason: string, fields: HeldBack["fields"]): void => {
    quiet.set(reason, { count: 0, fields });
    setTimeout(endQuiet, quietMs, reason).unref();
    log.warn(fields, "A call could not be done");
  };
  const endQuiet = (reason: string): void => {
    const held = quiet.get(reason);
    quiet.delete(reason);
    if (held !== undefined && held.count > 0) write(reason, { ...held.fields, held_back: held.count });
  };
  return (method, { details: { reason }, cause }) => {
    const fields = { method, reason, cause: sentenceOf(cause) };
    const held = quiet.get(reason);
    if (held === undefined) write(reason, fields);
    else quiet.set(reason, { count: held.count + 1, fields });
  };
}

function sentenceOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  // Node tries several addresses of a host, and has no sentence when all of them fail.
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : cause.name;
  return (cause.message || code).slice(0, maxCauseLength);
}
