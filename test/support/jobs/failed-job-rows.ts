import { createIds } from "../../../src/kernel/ids.ts";
import type { TestDatabase } from "../stores/database.ts";

const ids = createIds();

/** Inserts jobs that have failed, the first one last. @returns their ids */
export async function insertFailedJobs(
  { query }: Pick<TestDatabase, "query">,
  messages: readonly string[],
  queue = "invalidation",
): Promise<string[]> {
  const jobs = messages.map((message) => ({ id: ids(), message }));
  for (const [index, { id, message }] of jobs.entries()) {
    await query(
      `insert into pgboss.job
        (id, name, data, state, retry_limit, retry_count, created_on, started_on, completed_on, keep_until, output)
      values ($1, $2, '{"tags": [], "generation": ""}', 'failed', 4, 4, '2026-11-28T07:00:00Z', now(),
        '2026-11-28T08:00:00Z'::timestamptz - $3 * interval '1 microsecond', '2026-12-28', jsonb_build_object('message', $4::text))`,
      [id, queue, index, message],
    );
  }
  return jobs.map(({ id }) => id);
}
