import { execFile } from "node:child_process";
import type { SystemUser } from "./system-user.ts";

const TIMEOUT_MS = 10_000;

/**
 * Returns the environment of child processes. Nothing of this process's own: it contains secrets, and variables
 * such as PGPORT would change what is started.
 */
export const childEnvironment = () => ({ PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" });

/** Returns the ids for `spawn`, which takes signed numbers where others use unsigned ones. */
export const childIds = (user: SystemUser | undefined) =>
  user ? { uid: user.uid | 0, gid: user.gid | 0 } : {};

/** Runs a short command to its end, for 10 s at most. `output` is what it printed on both streams. */
export function runProgram(
  file: string,
  args: readonly string[],
  user?: SystemUser | undefined,
): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    const options = { ...childIds(user), cwd: "/", env: childEnvironment(), timeout: TIMEOUT_MS };
    execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ ok: error === null, output: `${stdout}${stderr}`.trim() || (error?.message ?? "") });
    });
  });
}
