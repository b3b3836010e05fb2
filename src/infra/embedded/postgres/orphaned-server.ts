import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { StartupError } from "../../../kernel/errors.ts";
import { isProcessAlive } from "../child-process.ts";
import { writePrivateFile } from "../files.ts";
import { runProgram } from "../run-program.ts";

/** The signals that stop a server (fast, immediate, forced), and the time limit of each, in milliseconds. */
const STOP_SIGNALS = [
  ["SIGINT", 10_000],
  ["SIGQUIT", 3_000],
  ["SIGKILL", 2_000],
] as const;
const POLL_MS = 25;

/** No process has this id, on any platform. */
const UNUSED_PID = 2_147_483_647;

/**
 * Cleans up after a run that was killed: stops its server, and replaces the process id in `postmaster.pid` if it
 * belongs to another program by now, which would keep PostgreSQL from starting. The caller holds the lock of the
 * folder, so no living run owns that server.
 *
 * @throws StartupError if the server does not end
 */
export async function stopOrphanedServer(path: string): Promise<void> {
  const pidFile = join(path, "postmaster.pid");
  const pid = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
  if (!(pid > 0)) return;
  if (!(await stopServer(pid, path))) {
    throw new StartupError(
      `The PostgreSQL server of an earlier run (process ${pid}) still uses ${path} and does not end. Kill it.`,
    );
  }
  if (isProcessAlive(pid)) await replacePid(pidFile);
}

/**
 * Stops the server.
 * @returns whether it has ended
 */
async function stopServer(pid: number, path: string): Promise<boolean> {
  for (const [signal, timeoutMs] of STOP_SIGNALS) {
    if (!(await isServerOf(pid, path))) return true;
    try {
      process.kill(pid, signal);
    } catch {
      // It has just ended, or belongs to another user.
      continue;
    }
    const deadlineMs = Date.now() + timeoutMs;
    while (Date.now() < deadlineMs && (await isServerOf(pid, path))) await sleep(POLL_MS);
  }
  return !(await isServerOf(pid, path));
}

/** Returns whether the process is a server on this folder: not a zombie, nor another program with its id. */
async function isServerOf(pid: number, path: string): Promise<boolean> {
  return isProcessAlive(pid) && (await readCommandLine(pid)).includes(`-D ${path} `);
}

/** Returns a program and its arguments, each followed by a space. */
async function readCommandLine(pid: number): Promise<string> {
  if (process.platform !== "linux") {
    return `${(await runProgram("/bin/ps", ["-o", "command=", "-p", `${pid}`])).output} `;
  }
  return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ");
}

/** Keeps the rest of the file, because PostgreSQL finds leftover processes by its line on shared memory. */
async function replacePid(pidFile: string): Promise<void> {
  const owner = await stat(pidFile).catch(() => undefined);
  if (owner === undefined) return; // The server removed it when it ended.
  const text = await readFile(pidFile, "utf8");
  await writePrivateFile(pidFile, text.replace(/^\d+/, String(UNUSED_PID)), owner);
}
