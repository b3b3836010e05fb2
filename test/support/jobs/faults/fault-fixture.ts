import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sql } from "kysely";
import { Client } from "pg";
import { entities } from "../../../../src/entities.ts";
import { startEmbeddedPostgres } from "../../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { installJobs } from "../../../../src/infra/jobs/install-jobs.ts";
import { openJobs } from "../../../../src/infra/jobs/jobs.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { withRetries } from "../../../../src/kernel/async/with-retries.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { createIds } from "../../../../src/kernel/ids.ts";
import { readPostmasterPid, removeLinked } from "../../embedded/embedded-fixtures.ts";
import { silentLog } from "../../log.ts";
import { startTcpProxy } from "../../stores/tcp-proxy.ts";
import { FAULT_TABLES, type FaultJob, faultQueues, notifiedFaults, polledFaults } from "./fault-queues.ts";

/** A PostgreSQL server of its own with the fault queues, and worker processes on it. */
export interface FaultFixture {
  /** Runs a statement on a connection of its own. */
  query<Row>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Opens a connection that the faults do not end. */
  connect(): Promise<Client>;
  /** Starts a worker process and waits until it takes jobs. */
  startWorker(): Promise<void>;
  /** Kills the worker with a process id by SIGKILL. */
  killWorker(pid: number): void;
  /**
   * Enqueues jobs, as many in each transaction, with numbers that follow those of earlier calls. A transaction that
   * fails is repeated with other numbers, because it may have committed.
   */
  enqueue(count: number, options?: { perTransaction?: number; waits?: true }): Promise<void>;
  /** Restarts PostgreSQL, by SIGKILL to its first process or by an orderly stop. Workers find it at the same address. */
  restartPostgres(how: "kill" | "stop"): Promise<void>;
  /** Workers that have exited without a signal of the test. */
  exitedWorkers(): ChildProcess[];
  /** Stops the workers, which finish their jobs. @returns their exit codes */
  stopWorkers(): Promise<(number | null)[]>;
  close(): Promise<void>;
}

const script = fileURLToPath(new URL("fault-worker.ts", import.meta.url));

export async function openFaultFixture(): Promise<FaultFixture> {
  const dataDir = await mkdtemp(join(tmpdir(), "cartwright-job-faults-"));
  const options = { dataDir, database: "jobs" };
  let postgres = await startEmbeddedPostgres(options);
  const proxy = await startTcpProxy(Number(new URL(postgres.url).port));
  const proxied = new URL(postgres.url);
  proxied.port = String(proxy.port);
  const url = proxied.href;
  const connect = async () => {
    const client = new Client({ connectionString: postgres.url, application_name: "fault test" });
    client.on("error", () => {});
    await client.connect();
    return client;
  };
  const installer = await connect();
  await installJobs(installer, silentLog, faultQueues);
  await installer.query(FAULT_TABLES);
  await installer.end();
  const limits = { poolMax: 4, poolWaitMs: 60_000, statementTimeoutMs: 60_000 };
  const db = await openPostgres({ url, entities, log: silentLog, ...limits });
  const jobs = await openJobs({ url, workers: 0, ids: createIds(), log: silentLog, queues: faultQueues });
  const workers = new Set<ChildProcess>();
  let nextN = 1;

  const enqueueTransaction = (count: number, waits?: true) => {
    const numbers = Array.from({ length: count }, (_, index) => nextN + index);
    nextN += count;
    return db.transact(internalCall(), async (tx) => {
      await tx.query(sql`insert into job_intent (n) select unnest(${numbers}::int[])`);
      for (const n of numbers) {
        const data: FaultJob = waits === undefined ? { n } : { n, waits };
        await jobs.enqueue(tx, n % 2 === 0 ? polledFaults : notifiedFaults, data);
      }
    });
  };

  return {
    connect,
    async query<Row>(text: string, values: unknown[] = []) {
      const client = await connect();
      return (await client.query(text, values).finally(() => client.end())).rows as Row[];
    },
    async startWorker() {
      const child = spawn(process.execPath, [script, url], { stdio: ["ignore", "pipe", "inherit"] });
      workers.add(child);
      await once(child.stdout, "data");
    },
    killWorker(pid) {
      const child = [...workers].find((worker) => worker.pid === pid);
      if (child === undefined) throw new Error(`${pid} is no worker`);
      child.kill("SIGKILL");
    },
    async enqueue(count, { perTransaction = 100, waits } = {}) {
      for (let left = count; left > 0; left -= perTransaction) {
        const size = Math.min(left, perTransaction);
        await withRetries(() => enqueueTransaction(size, waits), {
          attempts: 1_000,
          firstDelayMs: 50,
          maxDelayMs: 500,
        });
      }
    },
    async restartPostgres(how) {
      if (how === "kill") process.kill(await readPostmasterPid(dataDir), "SIGKILL");
      const stopped = postgres;
      if (how === "kill") await stopped.exited;
      await stopped.stop();
      postgres = await startEmbeddedPostgres(options);
      proxy.redirect(Number(new URL(postgres.url).port));
    },
    exitedWorkers: () =>
      [...workers].filter(({ exitCode, signalCode, killed }) => !killed && (exitCode ?? signalCode) !== null),
    async stopWorkers() {
      const codes = [...workers]
        .filter(({ killed }) => !killed)
        .map(async (child) => {
          workers.delete(child);
          if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
          const exited = once(child, "exit");
          child.kill("SIGTERM");
          const [code] = await exited;
          return typeof code === "number" ? code : null;
        });
      return Promise.all(codes);
    },
    async close() {
      for (const child of workers) child.kill("SIGKILL");
      await jobs.close();
      await db.close();
      await proxy.close();
      await postgres.stop();
      await removeLinked(dataDir);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
