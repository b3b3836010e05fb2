import { type AppError, errorMessage } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";

/** Shortest interval between two lines of one reason, in milliseconds. */
const INTERVAL_MS = 1_000;

/** Longest cause, in UTF-16 units; longer ones are truncated. */
const MAX_CAUSE_LENGTH = 500;

/** The lines that were suppressed, and the fields of the last of them. */
interface Suppressed {
  count: number;
  fields: Record<string, unknown>;
}

/**
 * Creates a log for failures that are expected and not the caller's fault. An unavailable database fails thousands of
 * calls a second, so each reason is logged at most once a second, with the number of suppressed lines. Of the cause
 * only the message is logged: a stack says nothing here, and PostgreSQL's details contain values.
 */
export function createThrottledLog(log: Log): (method: string, error: AppError) => void {
  const recent = new Map<string, Suppressed>();
  const write = (reason: string, fields: Suppressed["fields"]): void => {
    recent.set(reason, { count: 0, fields });
    setTimeout(endInterval, INTERVAL_MS, reason).unref();
    log.warn(fields, "Call failed");
  };
  const endInterval = (reason: string): void => {
    const suppressed = recent.get(reason);
    recent.delete(reason);
    if (suppressed !== undefined && suppressed.count > 0) {
      write(reason, { ...suppressed.fields, suppressed: suppressed.count });
    }
  };
  return (method, { details: { reason }, cause }) => {
    const fields = { method, reason, cause: causeMessage(cause) };
    const suppressed = recent.get(reason);
    if (suppressed === undefined) write(reason, fields);
    else recent.set(reason, { count: suppressed.count + 1, fields });
  };
}

function causeMessage(cause: unknown): string | undefined {
  return cause === undefined ? undefined : errorMessage(cause).slice(0, MAX_CAUSE_LENGTH);
}
