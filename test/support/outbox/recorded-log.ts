import type { Log } from "../../../src/kernel/log.ts";
import { silentLog } from "../log.ts";

/** A log that keeps its warnings. */
export interface RecordedLog extends Log {
  readonly warnings: { message: string; fields: Record<string, unknown> }[];
}

export function createRecordedLog(): RecordedLog {
  const warnings: RecordedLog["warnings"] = [];
  return { ...silentLog, warnings, warn: (fields, message) => void warnings.push({ message, fields }) };
}
