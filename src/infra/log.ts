import pino from "pino";
import pretty from "pino-pretty";
import type { Log } from "../kernel/log.ts";

/** Logs to standard output: JSON lines, or lines for people when it is a terminal. */
export function createLog(level: string, isTerminal: boolean): Log {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  if (!isTerminal) return pino(options);
  return pino(
    options,
    pretty({ colorize: true, ignore: "pid,hostname", translateTime: "HH:MM:ss", sync: true }),
  );
}
