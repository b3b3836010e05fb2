import type { Job, JobResult, PgBoss } from "pg-boss";
import { errorMessage } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import type { Queue } from "./queues.ts";

/** A job that runs. */
export interface RunningJob<Data extends object> {
  /** UUIDv7, the same in each attempt: an idempotency key for the effects of the job. */
  readonly id: string;
  readonly data: Data;
  /** Number of the attempt, from 1. */
  readonly attempt: number;
  /** Aborted when the time limit of the attempt has passed, or the job has been given to another worker. */
  readonly signal: AbortSignal;
}

/** Length of the error message that is kept with a job, in UTF-16 code units. */
const MAX_MESSAGE_LENGTH = 500;

/**
 * Runs the jobs of a batch concurrently and deletes those that are completed.
 * @returns the outcome of each job, which pg-boss settles. The jobs that failed are retried, or kept after their last
 *   attempt
 */
export async function runBatch<Data extends object>(
  boss: Pick<PgBoss, "deleteJob">,
  { name, maxAttempts }: Queue<Data>,
  jobs: readonly Job<Data>[],
  { handle, warn }: { handle: (job: RunningJob<Data>) => Promise<void>; warn: Log["warn"] },
): Promise<JobResult[]> {
  const run = async ({ id, data, retryCount, signal }: Job<Data>): Promise<JobResult> => {
    const attempt = retryCount + 1;
    try {
      await handle({ id, data, attempt, signal });
      return { id, status: "completed" };
    } catch (error) {
      const message = attempt < maxAttempts ? "Job failed; retrying" : "Job failed in its last attempt";
      warn({ err: error, queue: name, id, attempt }, message);
      return { id, status: "failed", output: { message: storableMessage(error) } };
    }
  };
  const results = await Promise.all(jobs.map(run));
  const completed = jobs.filter((_, index) => results[index]?.status === "completed");
  // pg-boss would retain completed jobs as long as failed ones.
  if (completed.length > 0) await boss.deleteJob(name, completed);
  return results;
}

/** Returns the message alone: the properties of an error may hold secrets. PostgreSQL stores no NUL or lone surrogate. */
function storableMessage(error: unknown): string {
  return errorMessage(error).slice(0, MAX_MESSAGE_LENGTH).toWellFormed().replaceAll("\0", "\uFFFD");
}
