import type { PgBoss } from "pg-boss";
import { errorMessage } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";

/** Logs the errors and warnings of pg-boss. Without a listener its errors would end the process. */
export function logPgBoss(boss: PgBoss, warn: Log["warn"]): void {
  // pg attaches the connection to its errors, with the key that cancels what runs on it: only the message is logged.
  boss.on("error", (error) => warn({ cause: errorMessage(error) }, "Job queue failed; retrying"));
  boss.on("warning", ({ message, data }) => warn({ data }, message));
}
