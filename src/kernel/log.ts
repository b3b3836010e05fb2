/** Writes one line: structured fields, then a short event in the past tense. */
type Write = (fields: Record<string, unknown>, message: string) => void;

/** The log, a subset of pino's logger. Secrets and message bodies are never logged. */
export interface Log {
  debug: Write;
  info: Write;
  warn: Write;
  error: Write;
}

/** The shortest interval of the lines of one warning, in milliseconds. */
const INTERVAL_MS = 1_000;

/** Counts an occurrence, and logs the fields of the last one with the number of all since the line before. */
export type CountedWarning = (fields: Readonly<Record<string, unknown>>) => void;

/**
 * Creates a warning about something that may happen thousands of times a second. It logs at most one line a second.
 * @param countField name of the field with the number of occurrences
 * @param nowMs milliseconds of a monotonic clock
 */
export function createCountedWarning(
  log: Log,
  message: string,
  countField: string,
  nowMs: () => number = () => performance.now(),
): CountedWarning {
  let count = 0;
  let nextLineAtMs = Number.NEGATIVE_INFINITY;
  return (fields) => {
    count += 1;
    const now = nowMs();
    if (now < nextLineAtMs) return;
    nextLineAtMs = now + INTERVAL_MS;
    log.warn({ ...fields, [countField]: count }, message);
    count = 0;
  };
}
