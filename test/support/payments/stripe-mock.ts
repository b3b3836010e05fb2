import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Whether the PATH has stripe-mock: `go install github.com/stripe/stripe-mock@v0.203.0`. */
export const isStripeMockInstalled = spawnSync("stripe-mock", ["-version"]).status === 0;

/** A process of stripe-mock. */
export interface StripeMock {
  url: string;
  stop(): Promise<void>;
}

/** Starts stripe-mock on a free port. */
export async function startStripeMock(): Promise<StripeMock> {
  // An empty port is one that the system chooses.
  const child: ChildProcess = spawn(
    "stripe-mock",
    ["-http-addr", "127.0.0.1:", "-https-addr", "127.0.0.1:"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const killAtExit = () => void child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const exited = once(child, "exit");
  const address = await readAddress(child);
  return {
    url: `http://${address}`,
    async stop() {
      child.kill("SIGKILL");
      process.off("exit", killAtExit);
      await exited;
    },
  };
}

async function readAddress({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error("stripe-mock has no output");
  for await (const line of createInterface({ input: stdout })) {
    const address = /Listening for HTTP at address: (\S+)/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error("stripe-mock ended before it listened");
}
