import { vi } from "vitest";
import type { TestDatabase } from "../stores/database.ts";

/** Key of the advisory lock that completions wait for. */
const LOCK_KEY = 20_001;

/** Makes the completion of each job wait for `lockCompletions`. */
export async function installCompletionLock({ query }: TestDatabase): Promise<void> {
  await query(`
    create function wait_for_completion_lock() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock_shared(${LOCK_KEY});
      return old;
    end $$`);
  await query(
    "create trigger completion_lock before delete on pgboss.job_common for each row execute function wait_for_completion_lock()",
  );
}

/** Makes workers wait when they complete a job, which they have run by then. @returns a function that lets them go on */
export async function lockCompletions({ query }: TestDatabase): Promise<() => Promise<void>> {
  await query("select pg_advisory_lock($1)", [LOCK_KEY]);
  return async () => {
    await query("select pg_advisory_unlock($1)", [LOCK_KEY]);
  };
}

/** Waits until a worker waits for the lock, and returns the process id of its session. */
export async function waitForCompletion({ query }: TestDatabase): Promise<number> {
  return vi.waitFor(
    async () => {
      const [row] = await query<{ pid: number }>(
        "select pid from pg_locks where locktype = 'advisory' and objid = $1 and not granted",
        [LOCK_KEY],
      );
      if (row === undefined) throw new Error("no worker completes a job");
      return row.pid;
    },
    { timeout: 60_000, interval: 20 },
  );
}
