import type { FailedJobs } from "../../infra/jobs/failed-jobs.ts";
import { internalCall } from "../../kernel/call.ts";
import type { AdminResult } from "./admin-result.ts";

/** Maximum number of jobs that are printed. */
const MAX_JOBS = 100;

/** Returns a line for each failed job: id, queue, attempts, time of the failure, last error. */
export async function listFailedJobs(failedJobs: FailedJobs, queue: string): Promise<AdminResult> {
  const page = { queue, pageSize: MAX_JOBS, pageToken: "" };
  const { items, nextPageToken } = await failedJobs.list(internalCall(), page);
  if (items.length === 0) return { message: "No jobs have failed." };
  const lines = items.map(({ id, attempts, failTime, lastError, ...job }) =>
    [id, job.queue, attempts, failTime.toISOString(), lastError.replaceAll(/\s+/g, " ")].join("  "),
  );
  const count = nextPageToken === "" ? String(items.length) : `The last ${items.length}`;
  return {
    message: `${count} failed jobs: id, queue, attempts, time of the failure, last error.`,
    output: lines.join("\n"),
  };
}
