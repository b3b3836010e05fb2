import { sql } from "kysely";
import type { Call } from "../../kernel/call.ts";
import { AppError, notFound } from "../../kernel/errors.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";
import { type Keyset, keysetCondition, keysetOrder } from "../postgres/keyset.ts";
import type { Database } from "../postgres/postgres.ts";
import { allOf, prepareDynamic } from "../postgres/statement.ts";
import { WAITING_RETENTION_SECONDS } from "./install-jobs.ts";

/** A job that has failed in its last attempt. */
export interface FailedJob {
  id: string;
  queue: string;
  /** Number of attempts. */
  attempts: number;
  /** Message of the error of the last attempt, 500 characters at most. */
  lastError: string;
  createTime: Date;
  failTime: Date;
}

/** The jobs that have failed, which are kept for 14 days. */
export interface FailedJobs {
  /**
   * Lists failed jobs, the last one to fail first.
   * @param page.queue name of a queue; empty for all
   */
  list(call: Call, page: PageRequest & { queue: string }): Promise<Page<FailedJob>>;
  /**
   * Puts a failed job back into its queue, with all attempts of the queue.
   * @throws AppError not_found when there is no such job, because it was completed or deleted; failed_precondition when
   *   it has not failed
   */
  retry(call: Call, id: string): Promise<void>;
}

interface FailedJobRow {
  id: string;
  name: string;
  attempts: number;
  message: string | null;
  created_on: string;
  completed_on: string;
}

const LAST_FAILED_FIRST: Keyset = {
  columns: [
    { name: "completed_on", type: "timestamptz" },
    { name: "id", type: "uuid" },
  ],
  descending: true,
};

/** Reads and retries the failed jobs of pg-boss. No worker is needed. */
export function createFailedJobs({
  db,
  tokens,
}: {
  db: Pick<Database, "read" | "transact">;
  tokens: PageTokens;
}): FailedJobs {
  return {
    async list(call, { queue, pageSize, pageToken }) {
      const query = { list: "failed-jobs", queue };
      const size = resolvePageSize(pageSize);
      const conditions = allOf([
        sql`state = 'failed'`,
        queue === "" ? undefined : sql`name = ${queue}`,
        keysetCondition(LAST_FAILED_FIRST, tokens.readCursor(pageToken, query)),
      ]);
      // pg-boss wraps the messages of its own errors in "value".
      const statement = sql<FailedJobRow>`
        select id, name, retry_count + 1 as attempts, created_on, completed_on,
          coalesce(output ->> 'message', output #>> '{value,message}') as message
        from pgboss.job where ${conditions} ${keysetOrder(LAST_FAILED_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(rows, size, query, (row) => [row.completed_on, row.id], fromRow);
    },

    retry(call, id) {
      return db.transact(call, async (tx) => {
        // pg-boss's own retry adds one attempt, and leaves the time at which the job is deleted.
        const retried = await tx.query(sql`
          update pgboss.job set state = 'created', retry_count = 0, started_on = null, completed_on = null,
            start_after = now(), keep_until = now() + ${WAITING_RETENTION_SECONDS} * interval '1 second'
          where id = ${id} and state = 'failed' returning id`);
        if (retried.length > 0) return;
        const existing = await tx.query(sql`select from pgboss.job where id = ${id}`);
        throw existing.length === 0 ? notFound("job", id) : notFailed(id);
      });
    },
  };
}

const fromRow = (row: FailedJobRow): FailedJob => ({
  id: row.id,
  queue: row.name,
  attempts: row.attempts,
  lastError: row.message ?? "",
  createTime: new Date(row.created_on),
  failTime: new Date(row.completed_on),
});

function notFailed(id: string): AppError {
  const description = "not failed";
  return new AppError(
    "failed_precondition",
    `Job ${id} has ${description}: it waits for an attempt, or runs.`,
    {
      reason: "JOB_NOT_FAILED",
      preconditions: [{ type: "STATE", subject: `jobs/${id}`, description }],
    },
  );
}
