import pino from "pino";
import pretty from "pino-pretty";
import type { Log } from "../kernel/log.ts";

/** What is written of an error. Whatever else libraries hang on theirs may be a connection with its secrets. */
export function serializeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error) || depth > MAX_CAUSES) return String(error);
  const code = "code" in error ? error.code : undefined;
  const cause = error.cause === undefined ? undefined : serializeError(error.cause, depth + 1);
  return { type: error.name, message: error.message, code, stack: error.stack, cause };
}

/** How far causes of causes are told. */
const MAX_CAUSES = 5;

/** Logs to standard output: JSON lines, or lines for people when it is a terminal. */
export function createLog(level: string, isTerminal: boolean): Log {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: (error) => serializeError(error) },
    formatters: { level: (label) => ({ level: label }) },
  };
  if (!isTerminal) return pino(options);
  return pino(
    options,
    pretty({ colorize: true, ignore: "pid,hostname", translateTime: "HH:MM:ss", sync: true }),
  );
}
