import { spawn } from "node:child_process";
import { errorCode } from "../../kernel/errors.ts";
import { childEnvironment, childIds } from "./run-program.ts";
import type { SystemUser } from "./system-user.ts";

/** The result of a process: `ok` for exit code 0, `text` for a message ("exit code 1"). */
export interface ExitResult {
  ok: boolean;
  text: string;
}

/** A process that cannot outlive this one. */
export interface ChildHandle {
  /** Resolves when it has ended, for whatever reason; never rejects. */
  readonly ended: Promise<ExitResult>;
  /** Lets this process end, and thereby end the child, although the child is running. */
  unref(): void;
  /** Interrupts it, and kills it if it does not end. Resolves when it has ended; may be called twice. */
  stop(): Promise<void>;
}

export interface ChildOptions {
  user?: SystemUser | undefined;
  /** The file descriptor of its standard output and error. */
  logFd: number;
  /** Its standard input. Secrets belong here, because arguments are visible in the process list. */
  input?: string;
  /** Time limit after SIGINT, in milliseconds. Defaults to 10,000. */
  graceMs?: number;
}

/**
 * Runs "$@" while the parent has the pipe to its standard input open. The kernel closes the pipe however the parent
 * ends. The command's own standard input is descriptor 3; "$1" is the grace period in fifths of a second. PostgreSQL and
 * Redis shut down cleanly on INT, PostgreSQL immediately on QUIT. KILL is sent to the whole group, because initdb would
 * leave the server that it runs.
 */
const SUPERVISOR = `
trap "" INT TERM HUP
grace=$1
shift
exec 4<&0
"$@" <&3 3<&- 4<&- &
child=$!
pause() { n=0; while [ $n -lt $1 ]; do sleep 0.2; n=$((n + 1)); done; }
{
  while read -r _; do :; done
  kill -INT $child; pause $grace
  kill -QUIT $child; pause 10
  kill -KILL 0
} <&4 >/dev/null 2>&1 3<&- &
watcher=$!
wait $child
status=$?
kill -KILL $watcher
exit $status
`;
const GRACE_STEP_MS = 200;

/**
 * Starts a command that ends when this process ends, even by kill -9. It has a session of its own, so that Ctrl-C in
 * the terminal does not reach it.
 */
export function startChild(
  command: readonly string[],
  { user, logFd, input, graceMs = 10_000 }: ChildOptions,
): ChildHandle {
  const graceSteps = String(Math.ceil(graceMs / GRACE_STEP_MS));
  const child = spawn("/bin/sh", ["-c", SUPERVISOR, "cartwright-store", graceSteps, ...command], {
    ...childIds(user),
    cwd: "/",
    env: childEnvironment(),
    detached: true,
    stdio: ["pipe", logFd, logFd, "pipe"],
  });
  const ended = new Promise<ExitResult>((resolve) => {
    child.once("error", (error) => resolve({ ok: false, text: error.message }));
    child.once("exit", (code, signal) => {
      killGroup(child.pid);
      resolve({ ok: code === 0, text: code === null ? `signal ${signal}` : `exit code ${code}` });
    });
  });
  // A broken pipe means that the child has ended, which `ended` reports.
  for (const stream of child.stdio) stream?.on("error", () => {});
  const standardInput = child.stdio[3];
  if (standardInput && "end" in standardInput) standardInput.end(input ?? "", () => standardInput.destroy());
  return {
    ended,
    unref: () => child.unref(),
    async stop() {
      child.ref();
      child.stdin?.end();
      await ended;
    },
  };
}

/** Kills what may be left after the supervisor: its subshells or, if it was killed, the command. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // The group has no process left.
  }
}

/** Returns whether a process with this id exists, owned by any user. */
export function isProcessAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}
