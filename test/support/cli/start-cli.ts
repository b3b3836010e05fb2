import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import type { Readable, Writable } from "node:stream";

/** The result of a command that has ended. */
export interface CliResult {
  /** Exit code; null if a signal has ended the command. */
  code: number | null;
  /** Its standard output. */
  out: string;
  /** Its standard error. */
  errors: string;
}

/** A command as a process of its own. */
export interface CliProcess {
  child: ChildProcessByStdio<Writable, Readable, Readable>;
  ended: Promise<CliResult>;
}

/**
 * Starts a command of `src/cli` in a process of its own.
 * @param command its path below `src/cli`, such as `import/main.ts`
 * @param env all environment variables of the process but `PATH`
 * @param options text for its standard input, and its working directory: the root of the repository by default
 */
export function startCli(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { input = "", cwd }: { input?: string; cwd?: string } = {},
): CliProcess {
  const child = spawn(process.execPath, [resolve("src/cli", command), ...args], {
    cwd,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env.PATH ?? "", ...env },
  });
  let [out, errors] = ["", ""];
  child.stdout.on("data", (data) => {
    out += data;
  });
  child.stderr.on("data", (data) => {
    errors += data;
  });
  // A command that fails early closes its standard input unread.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const ended = once(child, "close").then(([code]) => ({
    code: typeof code === "number" ? code : null,
    out,
    errors,
  }));
  return { child, ended };
}
