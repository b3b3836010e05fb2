import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const src = new URL("../../src/", import.meta.url);

/** The service, or a worker, in a process of its own. */
export interface ServiceProcess {
  child: ChildProcess;
  /** Its log on standard output so far. */
  lines: Record<string, unknown>[];
  /** Its standard error so far. */
  stderr(): string;
  /** Resolves with its address when it listens; rejects if it ends before. */
  listening: Promise<string>;
  /** Resolves with its exit code; null if a signal has ended it. */
  exited: Promise<number | null>;
}

/**
 * Starts a program of `src` with these environment variables only. Access control and rate limits are off by default.
 */
export function startProcess(
  env: Record<string, string>,
  program: "main.ts" | "worker-main.ts" = "main.ts",
): ServiceProcess {
  const { PATH = "", HOME = "" } = process.env;
  const dataDir = mkdtempSync(join(tmpdir(), "cartwright-process-"));
  const child = spawn(process.execPath, [fileURLToPath(new URL(program, src))], {
    env: { PATH, HOME, ACCESS: "off", LIMITS: "off", MAX_CALLS: "10000", DATA_DIR: dataDir, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: Record<string, unknown>[] = [];
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const exited = once(child, "exit").then(([code]) => {
    rmSync(dataDir, { recursive: true, force: true });
    return typeof code === "number" ? code : null;
  });
  const listening = new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => {
      const entry: Record<string, unknown> = JSON.parse(line);
      lines.push(entry);
      if (typeof entry.msg === "string" && /\blistening on\b/.test(entry.msg)) resolve(String(entry.address));
    });
    void exited.then((code) => reject(new Error(`${program} exited with ${code}: ${errors}`)));
  });
  // A test that does not await the address must not fail by an unhandled rejection.
  listening.catch(() => {});
  return { child, lines, stderr: () => errors, listening, exited };
}
