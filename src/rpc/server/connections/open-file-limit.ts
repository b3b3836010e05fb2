import { readFileSync } from "node:fs";
import type { Log } from "../../../kernel/log.ts";
import type { ServerLimits } from "../server-limits.ts";
import { MAX_CLOSING } from "./listener.ts";

/** The files that the process opens besides its connections: pools of the stores, logs, libraries. */
const OTHER_FILES = 200;

/**
 * Returns how many connections can be served completely: `maxConnections`, or fewer when the limit of open files does
 * not allow them. Without this, connections would take the files that the stores need.
 * @param readLimits returns the text of /proc/self/limits
 */
export function availableConnections(
  { maxConnections, reservedConnections, adminConnections }: ServerLimits,
  log: Log,
  readLimits: () => string = () => readFileSync("/proc/self/limits", "utf8"),
): number {
  const openFiles = openFileLimit(readLimits);
  const available = openFiles - reservedConnections - adminConnections - 2 * MAX_CLOSING - OTHER_FILES;
  if (available >= maxConnections) return maxConnections;
  const reduced = Math.max(1, available);
  log.warn({ openFiles, maxConnections: reduced }, "Connections reduced by the limit of open files");
  return reduced;
}

/** Returns the soft limit of open files, which Node has raised to the hard limit; Infinity when it is unknown. */
function openFileLimit(readLimits: () => string): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readLimits())?.[1] ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY; // not Linux
  }
}
