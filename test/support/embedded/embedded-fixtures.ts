import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { runProgram } from "../../../src/infra/embedded/run-program.ts";
import type { SystemUser } from "../../../src/infra/embedded/system-user.ts";
import type { ProgramOutput, ProgramSettings } from "./embedded-program.ts";

/** Creates a temporary folder that other users can enter. */
export async function createScratchFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "cartwright-embedded-"));
  await chmod(path, 0o711);
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** Removes the folder to which the data folder's `postgres` is a link, if it is one. */
export async function removeLinked(dataDir: string): Promise<void> {
  const target = await readlink(join(dataDir, "postgres")).catch(() => undefined);
  if (target !== undefined) await rm(dirname(target), { recursive: true, force: true });
}

export async function readPostmasterPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8"), 10);
}

/** Waits until a condition holds. @param what names the condition in the error message */
export async function waitUntil(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(holds, { timeout: 30_000, interval: 20 }).catch((cause: unknown) => {
    throw new Error(`not within 30 s: ${what}`, { cause });
  });
}

/** Returns whether a process has ended: it does not exist, or is a zombie. */
export async function hasEnded(pid: number): Promise<boolean> {
  const script = 'ps -o stat= -p "$1" || echo Z';
  const { output } = await runProgram("/bin/sh", ["-c", script, "has-ended", String(pid)]);
  return output.startsWith("Z");
}

const programs = new Set<ChildProcess>();

/** Kills the programs that a failed test has left. */
export async function killPrograms(): Promise<void> {
  for (const program of programs) program.kill("SIGKILL");
  await waitUntil("all programs have ended", () => programs.size === 0);
}

/** Starts {@link file://./embedded-program.ts} as a process of its own. */
export async function startProgram(settings: ProgramSettings, user?: SystemUser) {
  const file = fileURLToPath(new URL("./embedded-program.ts", import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [file, JSON.stringify(settings)], {
    stdio: ["ignore", "pipe", "pipe"],
    // A process group of its own, as a shell creates it.
    detached: true,
    ...(user ? { uid: user.uid, gid: user.gid } : {}),
  });
  let errors = "";
  child.stderr?.on("data", (data) => {
    errors += data;
  });
  programs.add(child);
  const exit = once(child, "exit").then(([code, signal]) => {
    programs.delete(child);
    return { code, signal, errors };
  });
  const lines: string[] = [];
  if (child.stdout) createInterface(child.stdout).on("line", (line) => lines.push(line));
  return {
    pid: child.pid ?? 0,
    exit,
    lines,
    /** Waits until the stores are running. */
    async ready(): Promise<ProgramOutput> {
      await Promise.race([waitUntil("the stores are running", () => lines.length > 0), exit]);
      if (lines[0] === undefined) throw new Error(`the program ended: ${errors}`);
      return JSON.parse(lines[0]);
    },
    async kill() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}
