import pino from "pino";
import pretty from "pino-pretty";
import { errorMessage } from "../kernel/errors.ts";
import type { Log } from "../kernel/log.ts";

/** How many nested causes of an error are logged. */
const MAX_CAUSES = 5;

/** Returns the fields of an error that are safe to log. Libraries attach more, such as connections with passwords. */
export function serializeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error) || depth > MAX_CAUSES) return errorMessage(error);
  const code = "code" in error ? error.code : undefined;
  const cause = error.cause === undefined ? undefined : serializeError(error.cause, depth + 1);
  return { type: error.name, message: error.message, code, stack: error.stack, cause };
}

/** Creates a log on standard output or standard error: JSON lines, or colored text on a terminal. */
export function createLog(level: string, { fd, isTTY }: { fd: number; isTTY?: boolean }): Log {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: (error) => serializeError(error) },
    formatters: { level: (label) => ({ level: label }) },
  };
  if (isTTY !== true) return pino(options, pino.destination({ fd, sync: false }));
  return pino(
    options,
    pretty({ colorize: true, translateTime: "HH:MM:ss", singleLine: true, destination: fd, sync: true }),
  );
}
