/** One line of the log: fields for machines, then a sentence for people. pino's loggers are of this shape. */
type Write = (fields: Record<string, unknown>, message: string) => void;

/** Where a room writes what happened. Secrets and message bodies never go in. */
export interface Log {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
}
