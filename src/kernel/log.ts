/** Writes one line: structured fields, then a short event in the past tense. */
type Write = (fields: Record<string, unknown>, message: string) => void;

/** The log, a subset of pino's logger. Secrets and message bodies are never logged. */
export interface Log {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
}
