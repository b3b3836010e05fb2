// A worker process that runs the jobs of the fault queues until SIGTERM. It prints "ready" when it takes jobs.
import { sql } from "kysely";
import { entities } from "../../../../src/entities.ts";
import { openJobs, type RunningJob } from "../../../../src/infra/jobs/jobs.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { createIds } from "../../../../src/kernel/ids.ts";
import { silentLog } from "../../log.ts";
import { ACCOUNTS, type FaultJob, faultQueues, WAITING_KEY } from "./fault-queues.ts";

const DRAIN_MS = 60_000;
const [, , url = ""] = process.argv;
const limits = { poolMax: 8, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
const db = await openPostgres({ url, entities, log: silentLog, ...limits });
const jobs = await openJobs({ url, workers: 2, ids: createIds(), log: silentLog, queues: faultQueues });

async function addOnce({ id, data: { n, waits }, signal }: RunningJob<FaultJob>): Promise<void> {
  await db.transact(internalCall(signal), async (tx) => {
    await tx.query(sql`insert into job_run (n, pid) values (${n}, ${process.pid})`);
    const added = await tx.query(
      sql`insert into job_effect (job_id, n) values (${id}, ${n}) on conflict do nothing returning n`,
    );
    if (added.length === 0) return;
    await tx.query(sql`update job_account set balance = balance + ${n} where id = ${n % ACCOUNTS}`);
  });
  if (waits !== true) return;
  await db.transact(internalCall(signal), (tx) =>
    tx.query(sql`select pg_advisory_xact_lock_shared(${WAITING_KEY})`),
  );
}

for (const queue of faultQueues) await jobs.work(queue, addOnce);
process.once("SIGTERM", async () => {
  await jobs.close(DRAIN_MS);
  await db.close();
  process.exit(0);
});
process.stdout.write("ready\n");
