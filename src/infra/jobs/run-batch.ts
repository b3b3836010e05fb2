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

/** How the jobs of a batch are run. */
export interface BatchOptions<Data extends object> {
  handle(job: RunningJob<Data>): Promise<void>;
  /** Logs a job that failed. */
  warn: Log["warn"];
  /** Logs a job that exceeded its time limit: a throttle of its own, so that no other failure hides it. */
  warnOfTimeLimit: Log["warn"];
}

/** The failure of an attempt that has taken too long. Its message is the last error of the job. */
class TimeLimitError extends Error {
  constructor(limitSeconds: number) {
    super(
      `The job exceeded its time limit of ${limitSeconds} s. Check what it waits for, or raise expireInSeconds of its queue.`,
    );
  }
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
  { name, maxAttempts, expireInSeconds }: Queue<Data>,
  jobs: readonly Job<Data>[],
  { handle, warn, warnOfTimeLimit }: BatchOptions<Data>,
): Promise<JobResult[]> {
  const run = async ({ id, data, retryCount, signal }: Job<Data>): Promise<JobResult> => {
    const attempt = retryCount + 1;
    try {
      await withTimeLimit(expireInSeconds, (limit) =>
        handle({ id, data, attempt, signal: AbortSignal.any([signal, limit]) }),
      );
      return { id, status: "completed" };
    } catch (error) {
      const isLate = error instanceof TimeLimitError;
      const event = isLate ? "Job exceeded its time limit" : "Job failed";
      const message = attempt < maxAttempts ? `${event}; retrying` : `${event} in its last attempt`;
      const log = isLate ? warnOfTimeLimit : warn;
      log({ err: error, queue: name, id, attempt }, message);
      return { id, status: "failed", output: { message: storableMessage(error) } };
    }
  };
  const results = await Promise.all(jobs.map(run));
  const completed = jobs.filter((_, index) => results[index]?.status === "completed");
  // pg-boss would retain completed jobs as long as failed ones.
  if (completed.length > 0) await boss.deleteJob(name, completed);
  return results;
}

/**
 * Runs work with a time limit. Work that ignores its signal is not awaited longer, and its later failure is dropped.
 * @throws TimeLimitError after the limit
 */
async function withTimeLimit(
  limitSeconds: number,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const limit = new AbortController();
  const passed = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new TimeLimitError(limitSeconds);
    // Before the abort, which can fail the work.
    passed.reject(error);
    limit.abort(error);
  }, limitSeconds * 1_000);
  try {
    await Promise.race([work(limit.signal), passed.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the message alone: the properties of an error may hold secrets. PostgreSQL stores no NUL or lone surrogate. */
function storableMessage(error: unknown): string {
  return errorMessage(error).slice(0, MAX_MESSAGE_LENGTH).toWellFormed().replaceAll("\0", "\uFFFD");
}
