import { spawn } from "node:child_process";
import { once } from "node:events";
import { stripVTControlCharacters } from "node:util";
import { onTestFinished } from "vitest";

/** A process on a terminal of its own. */
export interface TerminalProcess {
  /** What it has printed so far, without colors. */
  output(): string;
  /** Presses Ctrl-C and resolves with the exit code. */
  interrupt(): Promise<number | null>;
}

/**
 * Starts a command on a pseudo-terminal, which `script` of util-linux opens.
 * @param command a command of the shell
 */
export function startOnTerminal(command: string, env: Record<string, string>): TerminalProcess {
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn("script", ["-qefc", command, "/dev/null"], {
    env: { PATH, HOME, TERM: "xterm", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk) => {
    output += chunk;
  });
  return {
    output: () => stripVTControlCharacters(output).replaceAll("\r", ""),
    async interrupt() {
      child.stdin.write("\u0003");
      const [code] = await exited;
      return typeof code === "number" ? code : null;
    },
  };
}
