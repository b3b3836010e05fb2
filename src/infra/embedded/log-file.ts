import { constants } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";

/** Opens the log of a store and empties it. Writers append, because a former store may still write to it. */
export function openLogFile(file: string): Promise<FileHandle> {
  const { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } = constants;
  return open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600);
}

/** Reads the last lines of a log, each indented for an error message. */
export async function readLastLines(file: string, count = 20): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => "");
  const lines = text.trimEnd().split("\n").slice(-count);
  return lines.map((line) => `  ${line}`).join("\n");
}
