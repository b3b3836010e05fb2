import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
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
 * @param input text for its standard input
 */
export function startCli(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  input = "",
): CliProcess {
  const child = spawn(process.execPath, [`src/cli/${command}`, ...args], {
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
