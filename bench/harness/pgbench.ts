import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { StartupError } from "../../src/kernel/errors.ts";
import { readProcess } from "./process-stat.ts";

const run = promisify(execFile);
/** Where Debian and Ubuntu install the programs of each version. */
const DEBIAN_FOLDER = "/usr/lib/postgresql";

/** A script that pgbench runs in a closed loop. */
export interface PgbenchOptions {
  databaseUrl: string;
  /** The file with the script. */
  script: string;
  clients: number;
  threads: number;
  seconds: number;
  /** The variables that the script reads. */
  variables: Readonly<Record<string, number>>;
}

/** What the clients of pgbench measured. */
export interface PgbenchResult {
  /** The latencies of the transactions, in milliseconds. */
  ms: Float64Array;
  /** Without the time to connect. */
  perSecond: number;
  /** Processor time of pgbench. */
  busySeconds: number;
}

/** Returns the path of pgbench. @throws StartupError that says how to install it when it is missing */
export async function findPgbench(): Promise<string> {
  const versions = await readdir(DEBIAN_FOLDER).catch(() => []);
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a));
  const folders = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...newestFirst.map((version) => join(DEBIAN_FOLDER, version, "bin")),
  ];
  for (const folder of folders.filter(Boolean)) {
    const file = join(folder, "pgbench");
    const isExecutable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isExecutable) return file;
  }
  throw new StartupError(
    "This bench needs pgbench, which comes with PostgreSQL. Install it, on Debian and Ubuntu with: apt-get install postgresql-contrib",
  );
}

/**
 * Runs a script with prepared statements.
 * @throws StartupError with the messages of pgbench when it fails or a transaction fails
 */
export async function runPgbench(pgbench: string, options: PgbenchOptions): Promise<PgbenchResult> {
  const { databaseUrl, script, clients, threads, seconds, variables } = options;
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  const folder = await mkdtemp(join(tmpdir(), "cartwright-pgbench-"));
  const definitions = Object.entries(variables).flatMap(([name, value]) => ["-D", `${name}=${value}`]);
  const load = ["-c", String(clients), "-j", String(threads), "-T", String(seconds)];
  const log = ["--log", `--log-prefix=${join(folder, "log")}`];
  // pgbench has no other child beside it, so that the time of ended children grows by its time.
  const before = await readProcess(process.pid);
  const running = run(pgbench, ["-n", "-M", "prepared", "-f", script, ...load, ...definitions, ...log], {
    env: {
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: decodeURIComponent(username),
      PGPASSWORD: decodeURIComponent(password),
      PGDATABASE: decodeURIComponent(pathname.slice(1)),
    },
    timeout: (seconds + 60) * 1_000,
  });
  const stop = () => running.child.kill("SIGKILL");
  process.once("exit", stop);
  try {
    const { stdout } = await running;
    const after = await readProcess(process.pid);
    const perSecond = Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]);
    const failed = Number(/^number of failed transactions: (\d+)/m.exec(stdout)?.[1] ?? 0);
    if (!(perSecond > 0) || failed > 0) throw new StartupError(`pgbench failed:\n${stdout}`);
    const busySeconds = (after?.endedChildrenSeconds ?? Number.NaN) - (before?.endedChildrenSeconds ?? 0);
    return { ms: await readLatencies(folder), perSecond, busySeconds };
  } catch (error) {
    if (!(error instanceof Error && "stderr" in error)) throw error;
    throw new StartupError(`pgbench failed: ${error.stderr}`);
  } finally {
    process.off("exit", stop);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads the logs of all threads: a line for each transaction, whose third field is its latency in microseconds. */
async function readLatencies(folder: string): Promise<Float64Array> {
  const texts = await Promise.all(
    (await readdir(folder)).map((name) => readFile(join(folder, name), "utf8")),
  );
  const lines = texts.flatMap((text) => text.trimEnd().split("\n"));
  return Float64Array.from(lines, (line) => Number(line.split(" ", 3)[2]) / 1_000);
}
