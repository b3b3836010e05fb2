import { execFile, spawn } from "node:child_process";

/** Whom a process runs as when that is not ourselves. */
export interface User {
  name: string;
  uid: number;
  gid: number;
}

/** How a process ended: `ok` for exit code 0, `text` for a person ("exit code 1"). */
export interface Ending {
  ok: boolean;
  text: string;
}

/** A process that cannot outlive this one. */
export interface ChildHandle {
  /** Resolves when it has ended, for whatever reason; never rejects. */
  readonly ended: Promise<Ending>;
  /** From now on it does not keep this process from ending, and so from ending it. */
  unref(): void;
  /** Asks it to end, insists after its patience, kills 2 s later. Resolves when it is gone; may be called twice. */
  stop(): Promise<void>;
}

/**
 * Runs "$@" for as long as somebody holds the other end of standard input, which the kernel closes however
 * that somebody dies. The command's own standard input comes on descriptor 3; "$1" says for how many fifths of
 * a second it may finish. PostgreSQL and Redis take INT as "finish now, lose nothing", PostgreSQL QUIT as "drop
 * everything"; KILL is for all of the group, as initdb would leave the server that it runs.
 */
const SUPERVISOR = `
trap "" INT TERM HUP
patience=$1
shift
exec 4<&0
"$@" <&3 3<&- 4<&- &
store=$!
pause() { n=0; while [ $n -lt $1 ]; do sleep 0.2; n=$((n + 1)); done; }
{
  while read -r _; do :; done
  kill -INT $store; pause $patience
  kill -QUIT $store; pause 10
  kill -KILL 0
} <&4 >/dev/null 2>&1 3<&- &
warden=$!
wait $store
status=$?
kill -KILL $warden
exit $status
`;

/** Nothing of our environment: it holds secrets, and PGPORT and its like would change what is started. */
const environment = () => ({ PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" });

/** `spawn` wants signed numbers, everybody else unsigned ones. */
const identity = (user: User | undefined) => (user ? { uid: user.uid | 0, gid: user.gid | 0 } : {});

/**
 * Starts a command in a session of its own (Ctrl-C in the terminal does not reach it) that ends when this
 * process ends, even by kill -9.
 *
 * @param logFd where its standard output and error go
 * @param input what it reads on standard input; secrets go here, as arguments show in the process list
 * @param patienceMs how long it may take to finish what it has in hand
 */
export function startChild(
  command: readonly string[],
  {
    user,
    logFd,
    input,
    patienceMs = 10_000,
  }: { user?: User | undefined; logFd: number; input?: string; patienceMs?: number },
): ChildHandle {
  const patience = String(Math.ceil(patienceMs / 200));
  const child = spawn("/bin/sh", ["-c", SUPERVISOR, "cartwright-store", patience, ...command], {
    ...identity(user),
    cwd: "/",
    env: environment(),
    detached: true,
    stdio: ["pipe", logFd, logFd, "pipe"],
  });
  const ended = new Promise<Ending>((resolve) => {
    child.once("error", (error) => resolve({ ok: false, text: error.message }));
    child.once("exit", (code, signal) => {
      killGroup(child.pid);
      resolve({ ok: code === 0, text: code === null ? `signal ${signal}` : `exit code ${code}` });
    });
  });
  for (const stream of child.stdio) stream?.on("error", () => {}); // it is gone: `ended` tells
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

/** What may be left when the supervisor is gone: its own helpers or, if it was killed, the store. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // nothing was left
  }
}

/** Runs a short command to its end, 10 s at most. `output` is what it printed on both streams. */
export function run(
  file: string,
  args: readonly string[],
  user?: User | undefined,
): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    const options = { ...identity(user), cwd: "/", env: environment(), timeout: 10_000 };
    execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ ok: error === null, output: `${stdout}${stderr}`.trim() || (error?.message ?? "") });
    });
  });
}

/** Whether a process of that number is there, ours or not. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
